#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <softlook/inspect.hpp>

// Curves over the steps of a training: as SVG, and in the terminal.

namespace examples {

struct curve {
  std::string name;
  std::vector<std::pair<double, double>>
      points;  ///< in the order of x; what is not finite is left out
};

/// Curves with common axes, which span all points, and y from 0 where asked.
struct line_plot {
  std::string title, x_name, y_name;
  std::vector<curve> curves;
  bool from_zero = false;
};

namespace plotting {

using softlook::inspect::printable;

struct axis {
  double low = 0, high = 1;
  double share(double at) const { return (at - low) / (high - low); }
};

struct axes {
  axis x, y;
};

inline bool is_drawn(const std::pair<double, double>& p) {
  return std::isfinite(p.first) && std::isfinite(p.second);
}

inline axes axes_of(const line_plot& plot) {
  constexpr double most = std::numeric_limits<double>::infinity();
  axis x{most, -most}, y{most, -most};
  const auto take = [](axis& a, double at) {
    a.low = std::min(a.low, at);
    a.high = std::max(a.high, at);
  };
  if (plot.from_zero) take(y, 0);
  for (const curve& c : plot.curves)
    for (const auto& p : c.points) {
      if (!is_drawn(p)) continue;
      take(x, p.first);
      take(y, p.second);
    }
  for (axis* a : {&x, &y}) {
    if (!(a->low <= a->high)) *a = {0, 1};
    if (a->low == a->high) a->high += 1;
  }
  return {x, y};
}

/// 1, 2 or 5 times a power of ten, so that an axis has some five marks.
inline double mark_step(const axis& a) {
  const double rough = (a.high - a.low) / 5;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough * 0.999) return factor * power;
  return 10 * power;
}

inline std::vector<double> marks(const axis& a) {
  const double step = mark_step(a);
  std::vector<double> at;
  for (double k = std::ceil(a.low / step - 1e-9); k * step <= a.high + 1e-9 * step; ++k)
    at.push_back(k * step);
  return at;
}

/// As many decimals as the step between marks needs.
inline std::string mark_text(double at, double step) {
  const int decimals = std::max(0, int(-std::floor(std::log10(step) + 1e-9)));
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, at == 0 ? 0.0 : at);
  return text;
}

inline std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : printable(text)) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else
      out += c;
  }
  return out;
}

/// Colours that are told apart by those who see few (Okabe and Ito), and a sign for each.
struct pen {
  const char* colour;
  char sign;
};
inline constexpr std::array<pen, 4> pens = {
    {{"#0072b2", '*'}, {"#d55e00", 'o'}, {"#009e73", '+'}, {"#cc79a7", 'x'}}};
inline const pen& pen_of(std::size_t k) { return pens[k % pens.size()]; }

struct frame {
  double left = 70, top = 44, width = 560, height = 300;
};

inline std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", x);
  return text;
}
inline std::string text_at(double x, double y, const std::string& text, const char* anchor,
                           const std::string& more = "") {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\"" +
         more + ">" + escaped(text) + "</text>\n";
}
inline std::string straight(double x1, double y1, double x2, double y2, const char* colour,
                            double width = 1) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) +
         "\" y2=\"" + number(y2) + "\" stroke=\"" + colour + "\" stroke-width=\"" + number(width) +
         "\"/>\n";
}

inline std::string marks_svg(const axes& a, const frame& f) {
  std::string out;
  const double bottom = f.top + f.height, right = f.left + f.width;
  for (const double at : marks(a.y)) {
    const double y = bottom - a.y.share(at) * f.height;
    out += straight(f.left, y, right, y, "#dddddd");
    out += text_at(f.left - 8, y + 4, mark_text(at, mark_step(a.y)), "end");
  }
  for (const double at : marks(a.x)) {
    const double x = f.left + a.x.share(at) * f.width;
    out += straight(x, bottom, x, bottom + 5, "#444444");
    out += text_at(x, bottom + 20, mark_text(at, mark_step(a.x)), "middle");
  }
  return out + straight(f.left, bottom, right, bottom, "#444444") +
         straight(f.left, f.top, f.left, bottom, "#444444");
}

inline std::string curve_svg(const curve& c, const axes& a, const frame& f, const pen& with) {
  std::string out = "<polyline fill=\"none\" stroke-width=\"1.8\" stroke=\"";
  out += with.colour;
  out += "\" points=\"";
  for (const auto& p : c.points)
    if (is_drawn(p))
      out += number(f.left + a.x.share(p.first) * f.width) + "," +
             number(f.top + f.height - a.y.share(p.second) * f.height) + " ";
  return out + "\"/>\n";
}

}  // namespace plotting

/// 660 × 400 pixels on white.
inline std::string to_svg(const line_plot& plot) {
  namespace p = plotting;
  const p::frame f;
  const p::axes a = p::axes_of(plot);
  const double right = f.left + f.width, bottom = f.top + f.height;
  std::string out =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"660\" height=\"400\" viewBox=\"0 0 660 "
      "400\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222222\">\n"
      "<rect width=\"660\" height=\"400\" fill=\"#ffffff\"/>\n";
  out += p::text_at(f.left, 26, plot.title, "start", " font-size=\"15\"");
  out += p::marks_svg(a, f);
  out += p::text_at(f.left + f.width / 2, bottom + 42, plot.x_name, "middle");
  out += p::text_at(18, f.top + f.height / 2, plot.y_name, "middle",
                    " transform=\"rotate(-90 18 " + p::number(f.top + f.height / 2) + ")\"");
  // Names stand where curves that fall, or rise from below, leave room: at the right, in the
  // middle.
  double y = f.top + f.height * 0.42;
  for (std::size_t k = 0; k < plot.curves.size(); ++k, y += 18) {
    out += p::curve_svg(plot.curves[k], a, f, p::pen_of(k));
    out += p::straight(right - 215, y - 4, right - 191, y - 4, p::pen_of(k).colour, 2.5);
    out += p::text_at(right - 185, y, plot.curves[k].name, "start");
  }
  return out + "</svg>\n";
}

/// So many columns and lines of characters, and a line for each name.
inline std::string to_text(const line_plot& plot, std::size_t columns = 64,
                           std::size_t lines = 14) {
  namespace p = plotting;
  const p::axes a = p::axes_of(plot);
  std::vector<std::string> grid(lines, std::string(columns, ' '));
  for (std::size_t k = 0; k < plot.curves.size(); ++k)
    for (const auto& at : plot.curves[k].points) {
      if (!p::is_drawn(at)) continue;
      const auto place = [](double share, std::size_t count) {
        return std::size_t(std::lround(std::clamp(share, 0.0, 1.0) * double(count - 1)));
      };
      grid[lines - 1 - place(a.y.share(at.second), lines)][place(a.x.share(at.first), columns)] =
          p::pen_of(k).sign;
    }
  std::string out = p::printable(plot.title) + '\n';
  const double step = p::mark_step(a.y) / 10;
  for (std::size_t i = 0; i < lines; ++i) {
    const bool marked = i == 0 || i + 1 == lines;
    const std::string text = marked ? p::mark_text(i == 0 ? a.y.high : a.y.low, step) : "";
    out +=
        std::string(8 - std::min<std::size_t>(8, text.size()), ' ') + text + " |" + grid[i] + '\n';
  }
  const std::string first = p::mark_text(a.x.low, 1), last = p::mark_text(a.x.high, 1);
  out += std::string(9, ' ') + '+' + std::string(columns, '-') + '\n' + std::string(10, ' ') +
         first + std::string(columns - std::min(columns, first.size() + last.size()), ' ') + last +
         ' ' + p::printable(plot.x_name) + '\n';
  for (std::size_t k = 0; k < plot.curves.size(); ++k)
    out +=
        std::string(10, ' ') + p::pen_of(k).sign + ' ' + p::printable(plot.curves[k].name) + '\n';
  return out;
}

/// \throws std::runtime_error  if the file cannot be written.
inline void write_svg(const std::string& path, const line_plot& plot) {
  std::ofstream file(path);
  file << to_svg(plot);
  file.close();
  if (!file) throw std::runtime_error(path + ": the file cannot be written");
}

}  // namespace examples
