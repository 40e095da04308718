// Writes GGUF files in memory, whole and broken ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "examples/support/files.hpp"

namespace smollm_test {

/// Bytes, number after number.
class byte_string {
 public:
  template <class N>
  byte_string& add(N x) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof x);
    examples::put_number(x, bytes_.data() + at);
    return *this;
  }
  byte_string& text(std::string_view s) {
    add(std::uint64_t{s.size()});
    return raw(s);
  }
  byte_string& raw(std::string_view s) {
    for (const char c : s) bytes_.push_back(static_cast<std::byte>(c));
    return *this;
  }
  void fill_to(std::size_t alignment) {
    while (bytes_.size() % alignment != 0) bytes_.push_back(std::byte{});
  }
  std::span<const std::byte> span() const { return bytes_; }
  const std::vector<std::byte>& bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }

 private:
  std::vector<std::byte> bytes_;
};

/// A file in parts; file() puts them together.
class file_writer {
 public:
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;

  template <class N>
  void value(std::string_view key, std::uint32_t kind, N x) {
    ++values_;
    values_bytes_.text(key).add(kind).add(x);
  }
  void text(std::string_view key, std::string_view x) {
    ++values_;
    values_bytes_.text(key).add(std::uint32_t{8}).text(x);
  }
  /// A list of values of a kind, as many as are announced, which follow.
  void begin_list(std::string_view key, std::uint32_t kind, std::uint64_t count) {
    ++values_;
    values_bytes_.text(key).add(std::uint32_t{9}).add(kind).add(count);
  }
  void texts(std::string_view key, const std::vector<std::string>& all) {
    begin_list(key, 8, all.size());
    for (const std::string& s : all) values_bytes_.text(s);
  }
  void numbers(std::string_view key, const std::vector<std::int32_t>& all) {
    begin_list(key, 5, all.size());
    for (const std::int32_t x : all) values_bytes_.add(x);
  }
  void tensor(std::string_view name, const std::vector<std::uint64_t>& shape, std::uint32_t type,
              const byte_string& data) {
    while (data_.size() % alignment != 0) data_.add(std::uint8_t{});
    tensor_at(name, shape, type, data_.size());
    for (const std::byte b : data.bytes()) data_.add(b);
  }
  void tensor_at(std::string_view name, const std::vector<std::uint64_t>& shape, std::uint32_t type,
                 std::uint64_t offset) {
    ++tensors_;
    tensors_bytes_.text(name).add(std::uint32_t(shape.size()));
    for (const std::uint64_t extent : shape) tensors_bytes_.add(extent);
    tensors_bytes_.add(type).add(offset);
  }
  void floats(std::string_view name, const std::vector<std::uint64_t>& shape,
              const std::vector<float>& numbers) {
    byte_string data;
    for (const float x : numbers) data.add(x);
    tensor(name, shape, 0, data);
  }

  std::vector<std::byte> file() const {
    byte_string out;
    out.raw("GGUF").add(version).add(tensors_).add(values_);
    for (const byte_string* part : {&values_bytes_, &tensors_bytes_})
      for (const std::byte b : part->bytes()) out.add(b);
    out.fill_to(alignment);
    for (const std::byte b : data_.bytes()) out.add(b);
    return out.bytes();
  }

 private:
  std::uint64_t values_ = 0, tensors_ = 0;
  byte_string values_bytes_, tensors_bytes_, data_;
};

/// How a GGUF file writes the byte b: printable ones of Latin-1 as they are, the others from code
/// point 256 on.
inline std::string written(unsigned char b) {
  const auto printable = [](unsigned x) {
    return (x >= 33 && x <= 126) || (x >= 161 && x <= 172) || x >= 174;
  };
  unsigned code = b;
  if (!printable(b)) {
    code = 256;
    for (unsigned x = 0; x < b; ++x) code += printable(x) ? 0U : 1U;
  }
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xc0U | code >> 6U), static_cast<char>(0x80U | (code & 0x3fU))};
}
inline std::string written(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += written(static_cast<unsigned char>(c));
  return out;
}

/// Special tokens, the bytes, and what some merges make of them.
struct vocabulary {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  std::vector<std::string> merges;

  explicit vocabulary(const std::vector<std::pair<std::string, std::string>>& pairs) {
    for (const char* name : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
      tokens.emplace_back(name);
      types.push_back(3);
    }
    for (unsigned b = 0; b < 256; ++b) {
      tokens.push_back(written(static_cast<unsigned char>(b)));
      types.push_back(1);
    }
    for (const auto& [left, right] : pairs) {
      tokens.push_back(written(left + right));
      types.push_back(1);
      merges.push_back(written(left) + ' ' + written(right));
    }
  }
  void write(file_writer& to) const {
    to.text("tokenizer.ggml.model", "gpt2");
    to.texts("tokenizer.ggml.tokens", tokens);
    to.numbers("tokenizer.ggml.token_type", types);
    to.texts("tokenizer.ggml.merges", merges);
  }
};

}  // namespace smollm_test
