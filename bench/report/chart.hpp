#pragma once

#include <string>
#include <utility>
#include <vector>

namespace report {

struct series {
  std::string label;
  std::string colour;
  bool dashed = false;
  enum class marker { circle, square, none } mark = marker::circle;
  std::vector<std::pair<double, double>> points{};
};

struct panel {
  std::string title;
  std::vector<series> lines;
};

struct tick {
  double at = 0;
  std::string label;
};

/// Panels side by side with both axes logarithmic, common to all; one legend.
struct chart {
  std::string title;
  std::string subtitle;
  std::string x_title;
  std::string y_title;
  std::vector<tick> x_ticks;
  std::vector<tick> y_ticks;
  std::vector<panel> panels;

  [[nodiscard]] std::string svg() const;
};

}  // namespace report
