#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "softlook/core/types.hpp"
#include "softlook/inspect/detail/drawing.hpp"

SOFTLOOK_NAMESPACE_BEGIN
/// JSON that may stand inside of HTML, and numbers in it as base64.
namespace detail::drawing {

/// A text as it stands between quotes in JSON inside of HTML: nothing in it can end the element,
/// nor a line of script.
[[nodiscard]] SOFTLOOK_SMALL inline std::string json_text(std::string_view text) {
  std::string out = "\"";
  const std::string safe = printable(text);
  for (std::string_view rest = safe; !rest.empty();) {
    const std::string_view before = rest;
    const char32_t c = take_code_point(rest);
    if (c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == '\'' || c == '`' ||
        c == 0x2028 || c == 0x2029) {
      constexpr std::string_view digits = "0123456789abcdef";
      out += "\\u";
      for (int shift = 12; shift >= 0; shift -= 4) out += digits[(c >> shift) & 15U];
    } else {
      out += before.substr(0, before.size() - rest.size());
    }
  }
  return out + '"';
}

[[nodiscard]] SOFTLOOK_SMALL inline std::string json_number(double x) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), x);
  return {text.data(), end.ptr};
}

/// "[a,b,c]" of what `item` says of each number below count.
template <class Item>
[[nodiscard]] std::string json_list(std::size_t count, const Item& item) {
  std::string out = "[";
  for (std::size_t k = 0; k < count; ++k) {
    if (k > 0) out += ',';
    out += item(k);
  }
  return out + ']';
}
[[nodiscard]] SOFTLOOK_SMALL inline std::string json_list(const std::vector<std::string>& names) {
  return json_list(names.size(), [&](std::size_t k) { return json_text(names[k]); });
}
[[nodiscard]] SOFTLOOK_SMALL inline std::string json_pair(index a, index b) {
  return joined({"[", std::to_string(a), ",", std::to_string(b), "]"});
}

/// Numbers from 0, which things without names have, as their count.
[[nodiscard]] SOFTLOOK_SMALL inline std::string json_names(const std::vector<std::string>& names) {
  bool numbers = true;
  for (std::size_t k = 0; numbers && k < names.size(); ++k) numbers = names[k] == std::to_string(k);
  return numbers ? std::to_string(names.size()) : json_list(names);
}

/// RFC 4648, section 4.
[[nodiscard]] SOFTLOOK_SMALL inline std::string base64(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t k = 0; k < bytes.size(); k += 3) {
    const std::size_t here = std::min<std::size_t>(3, bytes.size() - k);
    std::uint32_t group = 0;
    for (std::size_t b = 0; b < 3; ++b) group = group << 8 | (b < here ? bytes[k + b] : 0U);
    for (std::size_t b = 0; b < 4; ++b)
      out += b <= here ? letters[(group >> (18 - 6 * b)) & 63U] : '=';
  }
  return out;
}

/// Numbers of so many bytes, the lower byte first, as base64 in quotes.
class packed_numbers {
 public:
  packed_numbers(int width, std::size_t count) : width_(width) {
    bytes_.reserve(count * static_cast<std::size_t>(width));
  }
  void add(std::uint32_t number) {
    for (int b = 0; b < width_; ++b) bytes_.push_back(static_cast<std::uint8_t>(number >> 8 * b));
  }
  [[nodiscard]] std::string text() const { return joined({"\"", base64(bytes_), "\""}); }

 private:
  int width_;
  std::vector<std::uint8_t> bytes_;
};

/// Members of an object in JSON, one a line.
class json_object {
 public:
  void add(const char* name, std::string_view value) {
    text_ += joined({text_.size() > 1 ? ",\n" : "", "\"", name, "\":", value});
  }
  [[nodiscard]] std::string text() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

}  // namespace detail::drawing
SOFTLOOK_NAMESPACE_END
