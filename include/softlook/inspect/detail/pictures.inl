#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "softlook/inspect/detail/drawing.hpp"

// How heat maps are drawn, which softlook::compiled holds.

SOFTLOOK_NAMESPACE_BEGIN
namespace inspect::detail {

/// The colour scale, when the style is right.
[[nodiscard]] SOFTLOOK_SMALL inline scale scale_of(std::span<const heat_map> maps,
                                                   const style& how) {
  if (how.per_row < 1)
    softlook::detail::raise_argument("inspect", "style.per_row", double(how.per_row),
                                     "a row holds at least 1 map");
  scale s;
  const auto widen = [&s](double x) {
    if (std::isfinite(x)) s = {std::min(s.lowest, x), std::max(s.highest, x)};
  };
  for (const heat_map& map : maps)
    for (const double x : numbers_of(map.weights())) widen(x);
  if (s.highest == s.lowest) s.highest = 1;
  s = {how.lowest.value_or(s.lowest), how.highest.value_or(s.highest)};
  if (!std::isfinite(s.lowest) || !std::isfinite(s.highest) || s.lowest >= s.highest)
    softlook::detail::raise_argument(
        "inspect", "style.highest", s.highest,
        joined({"it is finite and above style.lowest, ", number(s.lowest, 6)}));
  return s;
}

[[nodiscard]] inline bool in_colour(paint p) { return p == paint::ansi256 || p == paint::rgb; }

/// Two characters, so that a cell is about square.
[[nodiscard]] SOFTLOOK_SMALL inline std::string glyph(double x, const scale& s, paint p) {
  if (std::isnan(x)) return "??";
  if (std::isinf(x)) return x > 0 ? "^^" : "__";
  if (in_colour(p)) return "  ";
  constexpr std::array<const char*, 10> ascii = {" ", ".", ":", "-", "=", "+", "*", "#", "%", "@"};
  constexpr std::array<const char*, 5> blocks = {" ", "░", "▒", "▓", "█"};
  const auto of = [t = s(x)](const auto& ramp) {
    const char* shade = ramp[static_cast<std::size_t>(std::lround(t * double(ramp.size() - 1)))];
    return joined({shade, shade});
  };
  return p == paint::ascii ? of(ascii) : of(blocks);
}

/// One map in text. With numbers a column is as wide as its widest text, and names stand above it;
/// without numbers a cell is two characters, and names are written downwards.
[[nodiscard]] SOFTLOOK_SMALL inline block text_of(const heat_map& map, const scale& s,
                                                  const style& how) {
  const Eigen::MatrixXd& w = map.weights();
  const bool colours = in_colour(how.paint), numbers = how.decimals >= 0;
  const index margin = widest(map.queries()) + (numbers && !colours ? 0 : 1);
  const index digits = widest_number(w, how.decimals);
  index cell = 2;
  if (numbers) cell = std::max(digits + (colours ? 2 : 5), widest(map.keys()) + 2);
  const auto drawn = [&](double x) {
    const std::string shade = glyph(x, s, how.paint);
    const std::string text = numbers ? number(x, how.decimals) : shade;
    if (colours)
      return on_ground(centred(text, cell), colour_of(x, s), how.paint == paint::ansi256);
    return numbers ? to_the_right(joined({shade, " ", to_the_right(text, digits)}), cell) : shade;
  };

  block out{{}, margin + cell * w.cols()};
  const auto add = [&out](const std::string& line) {
    out.lines.push_back(joined({line, spaces(out.width - columns_of(line))}));
  };
  out.width = std::max(out.width, columns_of(map.title()));
  if (!map.title().empty()) add(map.title());
  if (numbers) {
    std::string names = spaces(margin);
    for (const std::string& key : map.keys())
      names += colours ? centred(key, cell) : to_the_right(key, cell);
    add(names);
  } else {
    for (const std::string& line : downwards(map.keys())) add(joined({spaces(margin), line}));
  }
  for (index i = 0; i < w.rows(); ++i) {
    std::string line = to_the_right(map.queries()[std::size_t(i)], widest(map.queries()));
    line += spaces(margin - columns_of(line));
    for (index j = 0; j < w.cols(); ++j) line += drawn(w(i, j));
    out.lines.push_back(joined({line, spaces(out.width - margin - cell * w.cols())}));
  }
  return out;
}

[[nodiscard]] SOFTLOOK_SMALL inline std::string legend_text(const scale& s, const style& how) {
  std::string bar;
  for (int k = 0; k < 10; ++k) {
    const double x = s.at(k / 9.0);
    const std::string shade = glyph(x, s, how.paint);
    bar += in_colour(how.paint) ? on_ground(shade, colour_of(x, s), how.paint == paint::ansi256)
                                : shade;
  }
  return joined(
      {number(s.lowest, s.decimals()), " [", bar, "] ", number(s.highest, s.decimals()), "\n"});
}

/// Where the parts of a picture are, in pixels. All maps of a picture have the same frame.
struct frame {
  static constexpr double letter = 7.6;  // of 13 px text, on the wide side: fonts differ
  double cell = 0, left = 0, top = 0, width = 0, height = 0;
  bool slanted = false, numbers = false;
};

[[nodiscard]] SOFTLOOK_SMALL inline frame frame_of(std::span<const heat_map> maps,
                                                   const style& how) {
  index rows = 1, cols = 1, queries = 0, keys = 0, title = 0, digits = 0;
  for (const heat_map& map : maps) {
    rows = std::max(rows, map.weights().rows());
    cols = std::max(cols, map.weights().cols());
    queries = std::max(queries, widest(map.queries()));
    keys = std::max(keys, widest(map.keys()));
    title = std::max(title, columns_of(map.title()));
    digits = std::max(digits, widest_number(map.weights(), how.decimals));
  }
  const auto pixels = [](index columns) { return frame::letter * double(columns); };
  frame f;
  f.cell = std::clamp(640.0 / double(std::max(rows, cols)), 3.0, 46.0);
  f.numbers = how.decimals >= 0 && f.cell >= 26;
  if (f.numbers) f.cell = std::max(f.cell, pixels(digits) + 6);
  f.slanted = pixels(keys) + 6 > f.cell;
  const double rise = f.slanted ? 0.71 * pixels(keys) : 0;  // names at 45 degrees
  f.left = std::ceil(pixels(queries)) + 12;
  f.top = std::ceil((title > 0 ? 28 : 4) + rise + (f.slanted ? 14 : 20));
  f.width = std::max(f.left + f.cell * double(cols) + std::max(rise - f.cell / 2, 0.0),
                     1.1 * pixels(title));
  f.height = f.top + f.cell * double(rows);
  return f;
}

[[nodiscard]] SOFTLOOK_SMALL inline std::string names_of(const heat_map& map, const frame& f) {
  std::string out;
  // Where cells are small only every so many get a name, so that names do not run into each other.
  const index row_step = index(std::ceil(13 / f.cell));
  const index col_step = index(std::ceil((f.slanted ? 18 : 13) / f.cell));
  const auto middle = [&f](index k) { return (double(k) + 0.5) * f.cell; };
  for (index i = 0; i < map.weights().rows(); i += row_step)
    out += text_at(f.left - 7, f.top + middle(i) + 4.5, map.queries()[std::size_t(i)],
                   " text-anchor=\"end\"");
  for (index j = 0; j < map.weights().cols(); j += col_step) {
    const double x = f.left + middle(j), y = f.top - 7;
    const std::string turned = joined({" transform=\"rotate(-45 ", px(x + 3), " ", px(y), ")\""});
    out += f.slanted ? text_at(x + 3, y, map.keys()[std::size_t(j)], turned)
                     : text_at(x, y, map.keys()[std::size_t(j)], " text-anchor=\"middle\"");
  }
  return out;
}

[[nodiscard]] SOFTLOOK_SMALL inline std::string svg_of(const heat_map& map, const frame& f,
                                                       const scale& s, int decimals) {
  std::string out;
  if (!map.title().empty()) out += text_at(0, 16, map.title(), " font-weight=\"bold\"");
  out += names_of(map, f);
  const double gap = f.cell > 12 ? 1 : 0;
  for (index i = 0; i < map.weights().rows(); ++i) {
    for (index j = 0; j < map.weights().cols(); ++j) {
      const double x = f.left + f.cell * double(j), y = f.top + f.cell * double(i);
      const double weight = map.weights()(i, j);
      const colour ground = colour_of(weight, s);
      out += box(x, y, f.cell - gap, f.cell - gap, ground);
      if (!f.numbers) continue;
      const char* const ink = is_bright(ground) ? "#000" : "#fff";
      out += text_at(x + (f.cell - gap) / 2, y + f.cell / 2 + 4, number(weight, decimals),
                     joined({" text-anchor=\"middle\" font-size=\"12\" fill=\"", ink, "\""}));
    }
  }
  return out;
}

/// The colour scale, and what the colours of non-finite numbers mean if there are any; y moves down
/// to where the legend ends.
[[nodiscard]] SOFTLOOK_SMALL inline std::string legend_svg(double x, double& y,
                                                           std::span<const heat_map> maps,
                                                           const scale& s) {
  constexpr int steps = 60;
  std::string out;
  for (int k = 0; k < steps; ++k) out += box(x, y + 2 * k, 14, 2, viridis(1 - (k + 0.5) / steps));
  for (const double t : {0.0, 0.5, 1.0})
    out += text_at(x + 20, y + 2 * steps * (1 - t) + 4.5, number(s.at(t), s.decimals()));
  y += 2 * steps + 12;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const double x0 : {std::numeric_limits<double>::quiet_NaN(), infinity, -infinity}) {
    const auto same = [x0](double w) { return std::isnan(x0) ? std::isnan(w) : w == x0; };
    bool found = false;
    for (const heat_map& map : maps)
      for (const double w : numbers_of(map.weights())) found = found || same(w);
    if (!found) continue;
    out += joined({box(x - 0.5, y - 0.5, 15, 15, {120, 120, 120}),
                   box(x, y, 14, 14, colour_of(x0, s)), text_at(x + 20, y + 11.5, number(x0, 2))});
    y += 20;
  }
  return out;
}

template <std::same_as<heat_map> Map>
SOFTLOOK_SMALL std::string text_of_maps(std::span<const Map> maps, const style& how) {
  const scale s = scale_of(maps, how);
  std::string out;
  for (std::size_t first = 0; first < maps.size(); first += std::size_t(how.per_row)) {
    std::vector<block> row;
    for (std::size_t k = first; k < std::min(maps.size(), first + std::size_t(how.per_row)); ++k)
      row.push_back(text_of(maps[k], s, how));
    out += joined({first > 0 ? "\n" : "", beside(row)});
  }
  if (how.decimals < 0) out += legend_text(s, how);
  return out;
}

template <std::same_as<heat_map> Map>
SOFTLOOK_SMALL std::string svg_of_maps(std::span<const Map> maps, const style& how) {
  const scale s = scale_of(maps, how);
  const frame f = frame_of(maps, how);
  constexpr double border = 16, between = 28, legend = 76;
  std::string body;
  double right = 0, bottom = 0;
  for (std::size_t k = 0; k < maps.size(); ++k) {
    const double x = border + double(index(k) % how.per_row) * (f.width + between);
    const double y = border + double(index(k) / how.per_row) * (f.height + between);
    body += joined({"<g transform=\"translate(", px(x), " ", px(y), ")\">\n",
                    svg_of(maps[k], f, s, how.decimals), "</g>\n"});
    right = std::max(right, x + f.width);
    bottom = std::max(bottom, y + f.height);
  }
  double legend_end = border + f.top;
  body += legend_svg(right + between, legend_end, maps, s);
  const std::string width = px(right + between + legend);
  const std::string height = px(std::max(bottom, legend_end) + border);
  return joined({"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", width, "\" height=\"",
                 height, "\" viewBox=\"0 0 ", width, " ", height,
                 "\" font-family=\"sans-serif\" font-size=\"13\" shape-rendering=\"crispEdges\">\n"
                 "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
                 body, "</svg>\n"});
}

}  // namespace inspect::detail

namespace inspect {

template <std::same_as<heat_map> Map>
SOFTLOOK_SMALL std::string strongest_keys_text(const Map& map, index count) {
  std::string out;
  const auto rows = strongest_keys(map.weights(), count);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::string line;
    for (const auto& [key, weight] : rows[i])
      line += detail::joined(
          {line.empty() ? "" : ", ", map.keys()[std::size_t(key)], " ", detail::number(weight, 2)});
    out += detail::joined({map.queries()[i], " -> ", line.empty() ? "nothing" : line, "\n"});
  }
  return out;
}

}  // namespace inspect
SOFTLOOK_NAMESPACE_END
