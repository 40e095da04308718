#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "softlook/core/types.hpp"
#include "softlook/inspect/detail/scale.hpp"
#include "softlook/inspect/detail/text.hpp"

SOFTLOOK_NAMESPACE_BEGIN
/// What pictures in a terminal and in SVG are made of: the width of a text, numbers, colours.
namespace detail::drawing {

/// Columns that a terminal gives to a code point: 0 for combining marks, 2 for wide characters.
[[nodiscard]] constexpr index columns_of(char32_t c) {
  const auto in = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
  if (in(0x300, 0x36F) || in(0x1AB0, 0x1AFF) || in(0x1DC0, 0x1DFF) || in(0x200B, 0x200F) ||
      in(0x20D0, 0x20FF) || in(0xFE00, 0xFE0F) || in(0xFE20, 0xFE2F))
    return 0;
  if (in(0x1100, 0x115F) || in(0x2E80, 0xA4CF) || in(0xAC00, 0xD7A3) || in(0xF900, 0xFAFF) ||
      in(0xFE30, 0xFE6F) || in(0xFF00, 0xFF60) || in(0xFFE0, 0xFFE6) || in(0x1F300, 0x1FAFF) ||
      in(0x20000, 0x3FFFD))
    return 2;
  return 1;
}

[[nodiscard]] SOFTLOOK_SMALL inline index columns_of(std::string_view text) {
  index sum = 0;
  while (!text.empty()) sum += columns_of(take_code_point(text));
  return sum;
}

[[nodiscard]] SOFTLOOK_SMALL inline std::string escaped_for_xml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

/// Independent of the locale. An exact zero (a masked pair) is "0", a rounded one "0.00".
[[nodiscard]] SOFTLOOK_SMALL inline std::string number(double x, int decimals) {
  if (std::isnan(x)) return "NaN";
  if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
  if (x == 0) return "0";
  std::array<char, 64> text;
  const bool fixed = std::abs(x) < 1e5;
  const auto form = fixed ? std::chars_format::fixed : std::chars_format::scientific;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), x, form,
                                 fixed ? std::clamp(decimals, 0, 17) : 1);
  return {text.data(), end.ptr};
}

[[nodiscard]] SOFTLOOK_SMALL inline std::string spaces(index count) {
  return std::string(static_cast<std::size_t>(std::max<index>(count, 0)), ' ');
}
[[nodiscard]] SOFTLOOK_SMALL inline std::string to_the_right(const std::string& text, index width) {
  return joined({spaces(width - columns_of(text)), text});
}
[[nodiscard]] SOFTLOOK_SMALL inline std::string centred(const std::string& text, index width) {
  const index free = std::max<index>(width - columns_of(text), 0);
  return joined({spaces(free - free / 2), text, spaces(free / 2)});
}

[[nodiscard]] SOFTLOOK_SMALL inline index widest(const std::vector<std::string>& names) {
  index most = 0;
  for (const std::string& name : names) most = std::max(most, columns_of(name));
  return most;
}

[[nodiscard]] SOFTLOOK_SMALL inline index widest_number(const Eigen::MatrixXd& w, int decimals) {
  index most = 0;
  for (const double x : numbers_of(w)) most = std::max(most, columns_of(number(x, decimals)));
  return most;
}

/// The first letter of a text, with the marks that combine with it; the text loses it.
[[nodiscard]] inline std::string_view take_letter(std::string_view& text) {
  const std::string_view all = text;
  static_cast<void>(take_code_point(text));
  for (std::string_view rest = text; !rest.empty() && columns_of(take_code_point(rest)) == 0;)
    text = rest;
  return all.substr(0, all.size() - text.size());
}

/// Names written downwards, ending at the same line.
[[nodiscard]] SOFTLOOK_SMALL inline std::vector<std::string> downwards(
    const std::vector<std::string>& names) {
  std::size_t height = 0;
  const auto letters_of = [](std::string_view name) {
    std::size_t count = 0;
    for (; !name.empty(); ++count) static_cast<void>(take_letter(name));
    return count;
  };
  for (const std::string& name : names) height = std::max(height, letters_of(name));
  std::vector<std::string> lines(height);
  for (const std::string_view name : names) {
    std::string_view rest = name;
    const std::size_t skipped = height - letters_of(name);
    for (std::size_t k = 0; k < height; ++k)
      lines[k] += to_the_right(k < skipped ? "" : std::string(take_letter(rest)), 2);
  }
  return lines;
}

/// Lines of one length in columns; the escape codes in them have none.
struct block {
  std::vector<std::string> lines;
  index width = 0;
};

/// Blocks beside each other, without spaces at the ends of lines.
[[nodiscard]] SOFTLOOK_SMALL inline std::string beside(const std::vector<block>& blocks) {
  std::size_t height = 0;
  for (const block& b : blocks) height = std::max(height, b.lines.size());
  std::string out;
  for (std::size_t k = 0; k < height; ++k) {
    std::string line;
    for (const block& b : blocks)
      line +=
          joined({line.empty() ? "" : "   ", k < b.lines.size() ? b.lines[k] : spaces(b.width)});
    line.resize(line.find_last_not_of(' ') + 1);
    ((out += line) += '\n');
  }
  return out;
}

struct colour {
  int red, green, blue;
};

/// Black text on it has more contrast than white text (WCAG 2, relative luminance).
[[nodiscard]] SOFTLOOK_SMALL inline bool is_bright(colour c) {
  const auto linear = [](int v) { return std::pow(v / 255.0, 2.2); };
  return 0.2126 * linear(c.red) + 0.7152 * linear(c.green) + 0.0722 * linear(c.blue) > 0.179;
}

/// The viridis ramp of van der Walt and Smith (2015, public domain): even in lightness, and safe
/// for colour-blind readers. t in [0, 1], linear between ten of its colours.
[[nodiscard]] SOFTLOOK_SMALL inline colour viridis(double t) {
  constexpr std::array<colour, 10> ramp = {{{68, 1, 84},
                                            {72, 40, 120},
                                            {62, 73, 137},
                                            {49, 104, 142},
                                            {38, 130, 142},
                                            {31, 158, 137},
                                            {53, 183, 121},
                                            {109, 205, 89},
                                            {180, 222, 44},
                                            {253, 231, 37}}};
  const double at = t * double(ramp.size() - 1);
  const std::size_t k = std::min(static_cast<std::size_t>(at), ramp.size() - 2);
  const auto mix = [f = at - double(k)](int a, int b) {
    return static_cast<int>(std::lround(a + f * (b - a)));
  };
  const colour &a = ramp[k], &b = ramp[k + 1];
  return {mix(a.red, b.red), mix(a.green, b.green), mix(a.blue, b.blue)};
}

/// What is no number has colours that the ramp has not: NaN orange, −∞ grey, +∞ white.
[[nodiscard]] inline colour colour_of(double x, const scale& s) {
  if (std::isnan(x)) return {230, 97, 0};
  if (std::isinf(x)) return x > 0 ? colour{255, 255, 255} : colour{200, 200, 200};
  return viridis(s(x));
}

/// Text on a coloured ground in a terminal, with 24-bit codes or the nearest of the 6×6×6 cube.
[[nodiscard]] SOFTLOOK_SMALL inline std::string on_ground(const std::string& text, colour c,
                                                          bool cube) {
  std::string code = "\x1b[";
  code += is_bright(c) ? "38;5;16;48;" : "38;5;231;48;";  // black and white of the cube
  if (cube) {
    const auto level = [](int v) { return v < 48 ? 0 : v < 115 ? 1 : (v - 35) / 40; };
    const int place = 16 + 36 * level(c.red) + 6 * level(c.green) + level(c.blue);
    code += joined({"5;", std::to_string(place)});
  } else {
    code += joined(
        {"2;", std::to_string(c.red), ";", std::to_string(c.green), ";", std::to_string(c.blue)});
  }
  return joined({code, "m", text, "\x1b[0m"});
}

/// A coordinate or length in pixels.
[[nodiscard]] SOFTLOOK_SMALL inline std::string px(double x) { return x == 0 ? "0" : number(x, 1); }

[[nodiscard]] SOFTLOOK_SMALL inline std::string text_at(double x, double y, std::string_view text,
                                                        const std::string& attributes = "") {
  return joined({"<text x=\"", px(x), "\" y=\"", px(y), "\"", attributes, ">",
                 escaped_for_xml(text), "</text>\n"});
}

[[nodiscard]] SOFTLOOK_SMALL inline std::string box(double x, double y, double width, double height,
                                                    colour c) {
  return joined({"<rect x=\"", px(x), "\" y=\"", px(y), "\" width=\"", px(width), "\" height=\"",
                 px(height), "\" fill=\"rgb(", std::to_string(c.red), ",", std::to_string(c.green),
                 ",", std::to_string(c.blue), ")\"/>\n"});
}

}  // namespace detail::drawing
SOFTLOOK_NAMESPACE_END
