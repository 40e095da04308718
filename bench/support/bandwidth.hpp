#pragma once

#include <cstddef>
#include <vector>

namespace bench {

struct region {
  const void* data = nullptr;
  std::size_t bytes = 0;
};

/// B: bytes per second of reading all regions once, in order, by one thread, over and over. Regions
/// that fit in a cache together are therefore read hot, a ring larger than the caches is read cold.
/// It is the better of plain loads and loads with a prefetch 4 KiB ahead (which differ by 10 to 20
/// % in either direction, depending on the size), each as the median of its passes.
[[nodiscard]] double read_bandwidth(const std::vector<region>& regions);

/// Bytes of the largest cache, or 32 MiB where the system does not say.
[[nodiscard]] std::size_t last_cache_bytes();

/// How many copies of `bytes` a cold row goes round: together four times the largest cache, at most
/// 1 GiB, at least two.
[[nodiscard]] std::size_t copies_in_ring(std::size_t bytes);

}  // namespace bench
