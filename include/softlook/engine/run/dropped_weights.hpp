#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "softlook/core/dropout.hpp"
#include "softlook/core/error.hpp"
#include "softlook/core/random.hpp"
#include "softlook/engine/kernels/frame.hpp"

// Dropout as an edit of weights.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Of the weights of some queries and of `keys` positions from `first` on. A dropped one becomes
/// −0, which touches no value, not even one that is not finite.
template <class T>
void drop_weights(const dropout& d, T* P, const weight_edit& at, index first, index keys,
                  problem whole) {
  const auto threshold = std::uint64_t(std::ldexp(d.probability, 32));
  const T kept = T(1 / (1 - d.probability));
  const philox_key key{std::uint32_t(d.seed), std::uint32_t(d.seed >> 32)};
  for (index q = 0; q < at.queries; ++q) {
    T* const column = P + q * at.query_stride;
    for (index r = 0; r < keys;) {
      const index j = first + r;
      const philox_counter words =
          philox({std::uint32_t(j / 4), std::uint32_t(at.positions[q]), std::uint32_t(whole.head),
                  std::uint32_t(whole.sequence)},
                 key);
      for (index word = j % 4; word < 4 && r < keys; ++word, ++r) {
        T& weight = column[r * at.key_stride];
        weight = words[std::size_t(word)] < threshold ? T(-0.0) : weight * kept;
      }
    }
  }
}

/// Private keys are never dropped.
template <class T>
void drop_runs(const void* self, T* P, const weight_edit& at, const call_frame& f, problem whole) {
  const index shared = f.shared_keys(at.keys);
  for (const product_run* run = at.runs; run < at.runs + at.count; ++run) {
    const index key = at.first_key + run->row, end = std::min(key + run->steps, shared);
    if (key < end)
      drop_weights(*static_cast<const dropout*>(self), P, at, f.first_key + key, end - key, whole);
    P += run->steps * at.key_stride;
  }
}

template <class T>
[[nodiscard]] weight_calls<T> calls_of_dropout(const char* where, const dropout& given) {
  if (!(given.probability >= 0 && given.probability < 1))
    raise_argument(where, "dropout.probability", given.probability,
                   "it lies between 0 and 1, below 1");
  if (given.probability == 0) return {};
  return {&given, &drop_runs<T>};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
