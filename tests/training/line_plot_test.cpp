#include "examples/support/line_plot.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace line_plot_test {
namespace {

using examples::line_plot;

const double nan = std::numeric_limits<double>::quiet_NaN();
const double infinity = std::numeric_limits<double>::infinity();

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(LinePlot, CornersAreFirstAndLastPoints) {
  const line_plot plot{.title = "a < b & c",
                       .x_name = "steps",
                       .y_name = "loss",
                       .curves = {{"one", {{0, 4}, {10, 2}}}, {"two", {{5, 3}}}}};
  const std::string svg = examples::to_svg(plot);
  EXPECT_NE(svg.find("points=\"70.0,44.0 630.0,344.0 \""), svg.npos);
  EXPECT_NE(svg.find("points=\"350.0,194.0 \""), svg.npos);
  EXPECT_NE(svg.find("a &lt; b &amp; c"), svg.npos);
  EXPECT_EQ(count(svg, "<polyline"), 2u);
  EXPECT_EQ(examples::to_text(plot, 11, 3),
            "a < b & c\n"
            "    4.00 |*          \n"
            "         |     o     \n"
            "    2.00 |          *\n"
            "         +-----------\n"
            "          0        10 steps\n"
            "          * one\n"
            "          o two\n");
}

TEST(LinePlot, WhatIsNotFiniteIsLeftOut) {
  const line_plot plot{.title = "",
                       .x_name = "",
                       .y_name = "",
                       .curves = {{"", {{0, 1}, {1, nan}, {2, infinity}, {3, 2}}}}};
  const std::string svg = examples::to_svg(plot);
  EXPECT_NE(svg.find("points=\"70.0,344.0 630.0,44.0 \""), svg.npos);
  EXPECT_EQ(count(examples::to_text(plot), "nan"), 0u);
}

TEST(LinePlot, NothingAndOnePointAreDrawnToo) {
  for (const line_plot& plot :
       {line_plot{.title = "", .x_name = "", .y_name = "", .curves = {}},
        line_plot{.title = "", .x_name = "", .y_name = "", .curves = {{"", {{7, 7}}}}}})
    for (const std::string& text : {examples::to_svg(plot), examples::to_text(plot)}) {
      EXPECT_EQ(count(text, "nan"), 0u);
      EXPECT_EQ(count(text, "inf"), 0u);
    }
}

TEST(LinePlot, MarksAreRoundNumbers) {
  namespace p = examples::plotting;
  EXPECT_EQ(p::marks({1.3, 4.5}), (std::vector<double>{2, 3, 4}));
  EXPECT_EQ(p::marks({0, 100}).size(), 6u);
  EXPECT_EQ(p::mark_text(0.30000000000000004, 0.1), "0.3");
  EXPECT_EQ(p::mark_text(-0.0, 1), "0");
}

}  // namespace
}  // namespace line_plot_test
