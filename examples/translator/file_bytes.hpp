#pragma once

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "model_error.hpp"

namespace translator {

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

/// A number as it lies in memory, at any address.
template <class Number>
Number number_at(std::span<const std::byte> bytes) {
  Number value{};
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

}  // namespace translator
