#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
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

/// A number as it lies in memory, at any address.
template <class Number>
Number number_at(const std::byte* bytes) {
  Number value{};
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

/// a · b unless that is more than `most`.
inline std::optional<std::uint64_t> product(
    std::uint64_t a, std::uint64_t b,
    std::uint64_t most = std::numeric_limits<std::uint64_t>::max()) {
  if (b != 0 && a > most / b) return std::nullopt;
  return a * b;
}

}  // namespace examples
