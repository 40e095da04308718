#pragma once

#include <Eigen/Core>
#include <array>
#include <cstddef>
#include <cstdio>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
/// What the headers of pictures need of texts. No template and no expression of Eigen, which every
/// file that includes this would compile.
namespace detail::drawing {

/// Texts one after another.
[[nodiscard]] SOFTLOOK_SMALL inline std::string joined(
    std::initializer_list<std::string_view> texts) {
  std::string out;
  for (const std::string_view text : texts) out += text;
  return out;
}

/// The numbers of a matrix in the order of its memory.
[[nodiscard]] inline std::span<const double> numbers_of(const Eigen::MatrixXd& w) {
  return {w.data(), static_cast<std::size_t>(w.size())};
}

/// The first code point of a text, which loses its bytes; U+FFFD for a byte that is not UTF-8.
[[nodiscard]] SOFTLOOK_SMALL inline char32_t take_code_point(std::string_view& text) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned lead = byte(0);
  const std::size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : 4;
  constexpr std::array<char32_t, 5> least = {0, 0, 0x80, 0x800, 0x10000};
  char32_t code = length == 1 ? lead : lead & (0x7FU >> length);
  bool good = length <= text.size() && (length < 4 || lead >> 3 == 30);
  for (std::size_t k = 1; good && k < length; ++k) {
    good = byte(k) >> 6 == 2;
    code = code << 6 | (byte(k) & 0x3FU);
  }
  good = good && code >= least[length] && code <= 0x10FFFF && !(code >= 0xD800 && code < 0xE000);
  text.remove_prefix(good ? length : 1);
  return good ? code : U'\xFFFD';
}

/// What orders the text around it, or ends a line, without being seen: marks, embeddings, overrides
/// and isolates of bidirectional text (Unicode Standard Annex 9), deprecated formats, line and
/// paragraph separators.
[[nodiscard]] constexpr bool moves_other_text(char32_t c) {
  return c == 0x61C || c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x206F);
}

/// Tokens hold line ends and broken bytes, which neither a terminal nor XML can take: control
/// characters become their pictures (␊); what is not UTF-8, and what would order the text beside it
/// in another way than it stands, becomes U+FFFD.
[[nodiscard]] SOFTLOOK_SMALL inline std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::string_view before = text;
    const char32_t c = take_code_point(text);
    if (c < 0x20)
      out += {'\xE2', '\x90', static_cast<char>(0x80 + c)};
    else if ((c >= 0x7F && c < 0xA0) || moves_other_text(c) || c == 0xFFFD || c == 0xFFFE ||
             c == 0xFFFF)
      out += "\xEF\xBF\xBD";
    else
      out += before.substr(0, before.size() - text.size());
  }
  return out;
}

/// Whether the file could be written.
[[nodiscard]] SOFTLOOK_SMALL inline bool write_file(const std::string& path,
                                                    const std::string& text) {
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  if (!file) return false;
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  return (std::fclose(file) == 0) && written;
}

}  // namespace detail::drawing
SOFTLOOK_NAMESPACE_END
