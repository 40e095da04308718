#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "examples/support/model_error.hpp"

// What the readers of models' files have in common.

namespace examples {

/// The bytes of a regular file.
/// \throws model_error
inline std::vector<std::byte> bytes_of_file(const std::filesystem::path& path) {
  const auto fail = [&path](const char* what) { throw model_error(path.string() + ": " + what); };
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("the file cannot be opened");
  if (!std::filesystem::is_regular_file(path)) fail("this is not a regular file");
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::filesystem::file_size(path)));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (file.gcount() != static_cast<std::streamsize>(bytes.size())) fail("the file cannot be read");
  return bytes;
}

/// The same without a copy: unmapped with the last user of the pointer.
inline std::pair<std::shared_ptr<const std::byte>, std::size_t> map_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw model_error(path + ": the file cannot be opened");
  struct stat status{};
  const bool regular = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  const auto size = regular ? static_cast<std::size_t>(status.st_size) : 0;
  void* start = MAP_FAILED;
  if (size > 0) start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  ::close(descriptor);
  if (!regular) throw model_error(path + ": this is not a regular file");
  if (size == 0) return {nullptr, 0};
  if (start == MAP_FAILED) throw model_error(path + ": the file cannot be mapped into memory");
  const auto unmap = [size](const std::byte* bytes) {
    ::munmap(const_cast<std::byte*>(bytes), size);
  };
  return {std::shared_ptr<const std::byte>(static_cast<const std::byte*>(start), unmap), size};
}

/// The number of these bytes, at any address, the lowest first, as files of models have it.
template <class Number>
Number number_at(const std::byte* bytes) {
  static_assert(std::endian::native == std::endian::little ||
                std::endian::native == std::endian::big);
  std::byte turned[sizeof(Number)];
  if constexpr (std::endian::native == std::endian::big) {
    std::reverse_copy(bytes, bytes + sizeof(Number), turned);
    bytes = turned;
  }
  Number value{};
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

/// to.size() numbers that lie one behind the other.
template <class Number>
void numbers_at(const std::byte* bytes, std::span<Number> to) {
  if (to.empty()) return;
  if constexpr (std::endian::native == std::endian::little)
    std::memcpy(to.data(), bytes, to.size_bytes());
  else
    for (std::size_t k = 0; k < to.size(); ++k)
      to[k] = number_at<Number>(bytes + k * sizeof(Number));
}

/// What number_at() reads.
template <class Number>
void put_number(Number value, std::byte* to) {
  std::memcpy(to, &value, sizeof value);
  if constexpr (std::endian::native == std::endian::big) std::reverse(to, to + sizeof value);
}

/// a · b unless that is more than `most`.
inline std::optional<std::uint64_t> product(
    std::uint64_t a, std::uint64_t b,
    std::uint64_t most = std::numeric_limits<std::uint64_t>::max()) {
  if (b != 0 && a > most / b) return std::nullopt;
  return a * b;
}

}  // namespace examples
