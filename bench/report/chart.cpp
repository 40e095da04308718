#include "report/chart.hpp"

#include <cmath>
#include <cstdio>
#include <map>

namespace report {
namespace {

constexpr double panel_width = 430, panel_height = 330;
constexpr double left = 92, top = 112, between = 34, bottom = 62, right = 32;
const char* const ink = "#222222";
const char* const faint = "#dddddd";

template <class... Args>
std::string text_of(const char* format, Args... args) {
  char buffer[512];
  std::snprintf(buffer, sizeof buffer, format, args...);
  return buffer;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else
      out += c;
  }
  return out;
}

std::string write_text(double x, double y, const std::string& text, const char* more = "") {
  return text_of("<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\" %s>", x, y, ink, more) + escaped(text) +
         "</text>\n";
}

std::string write_marker(const series& line, double x, double y) {
  switch (line.mark) {
    case series::marker::circle:
      return text_of("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", x, y,
                     line.colour.c_str());
    case series::marker::square:
      return text_of(
          "<rect x=\"%.1f\" y=\"%.1f\" width=\"7.4\" height=\"7.4\" fill=\"white\" stroke=\"%s\" "
          "stroke-width=\"2\"/>\n",
          x - 3.7, y - 3.7, line.colour.c_str());
    case series::marker::none:
      break;
  }
  return {};
}

std::string style_of(const series& line) {
  return text_of("fill=\"none\" stroke=\"%s\" stroke-width=\"2\" stroke-linejoin=\"round\"%s",
                 line.colour.c_str(), line.dashed ? " stroke-dasharray=\"7 4\"" : "");
}

struct frame {
  const chart& all;
  double x0 = 0;

  [[nodiscard]] static double between_ticks(const std::vector<tick>& ticks, double value) {
    return std::log(value / ticks.front().at) / std::log(ticks.back().at / ticks.front().at);
  }
  [[nodiscard]] double x(double value) const {
    constexpr double margin = 14;
    return x0 + margin + between_ticks(all.x_ticks, value) * (panel_width - 2 * margin);
  }
  [[nodiscard]] double y(double value) const {
    return top + panel_height * (1 - between_ticks(all.y_ticks, value));
  }
};

std::string grid(const frame& f, bool first, const std::string& title) {
  std::string out;
  for (const tick& t : f.all.y_ticks) {
    out += text_of("<path d=\"M%.1f %.1fh%.1f\" stroke=\"%s\"/>\n", f.x0, f.y(t.at), panel_width,
                   faint);
    if (first) out += write_text(f.x0 - 8, f.y(t.at) + 4, t.label, "text-anchor=\"end\"");
  }
  for (const tick& t : f.all.x_ticks) {
    out += text_of("<path d=\"M%.1f %.1fv%.1f\" stroke=\"%s\"/>\n", f.x(t.at), top, panel_height,
                   faint);
    out += write_text(f.x(t.at), top + panel_height + 18, t.label, "text-anchor=\"middle\"");
  }
  out += text_of("<path d=\"M%.1f %.1fv%.1fh%.1f\" fill=\"none\" stroke=\"%s\"/>\n", f.x0, top,
                 panel_height, panel_width, ink);
  out += write_text(f.x0 + panel_width / 2, top + panel_height + 42, f.all.x_title,
                    "text-anchor=\"middle\"");
  if (!title.empty())
    out += write_text(f.x0 + panel_width / 2, top - 10, title,
                      "text-anchor=\"middle\" font-weight=\"bold\"");
  return out;
}

std::string draw(const frame& f, const series& line) {
  std::string path, marks;
  for (const auto& [px, py] : line.points) {
    path += text_of("%c%.1f %.1f", path.empty() ? 'M' : 'L', f.x(px), f.y(py));
    marks += write_marker(line, f.x(px), f.y(py));
  }
  if (path.empty()) return {};
  return "<path d=\"" + path + "\" " + style_of(line) + "/>\n" + marks;
}

std::string legend(const std::vector<panel>& panels) {
  std::string out;
  std::map<std::string, bool> seen;
  double x = left;
  constexpr double y = 72;
  for (const panel& each : panels)
    for (const series& line : each.lines) {
      if (line.points.empty() || std::exchange(seen[line.label], true)) continue;
      out += text_of("<path d=\"M%.1f %.1fh34\" ", x, y) + style_of(line) + "/>\n" +
             write_marker(line, x + 17, y) + write_text(x + 42, y + 4.5, line.label);
      x += 66 + 7.4 * double(line.label.size());
    }
  return out;
}

}  // namespace

std::string chart::svg() const {
  const auto count = double(panels.size());
  const double width = left + count * panel_width + (count - 1) * between + right;
  const double height = top + panel_height + bottom;
  std::string out = text_of(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
      "viewBox=\"0 0 %.0f %.0f\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\">\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
      width, height, width, height);
  out += write_text(left, 28, title, "font-size=\"18\" font-weight=\"bold\"");
  out += write_text(left, 48, subtitle, "font-size=\"12\"");
  out += legend(panels);
  out += write_text(0, 0, y_title,
                    text_of("text-anchor=\"middle\" transform=\"translate(18 %.1f) rotate(-90)\"",
                            top + panel_height / 2)
                        .c_str());
  double x0 = left;
  for (const panel& each : panels) {
    const frame f{*this, x0};
    out += grid(f, x0 == left, each.title);
    for (const series& line : each.lines) out += draw(f, line);
    x0 += panel_width + between;
  }
  return out + "</svg>\n";
}

}  // namespace report
