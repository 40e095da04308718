#include "compare.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace compare_test {
namespace {

using conformance::agrees;
using conformance::case_file;
using conformance::mode;
using conformance::outputs;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double inf = std::numeric_limits<double>::infinity();

TEST(Agrees, NanAgreesWithNanOnly) {
  EXPECT_TRUE(agrees(nan, nan, {0, 0}));
  EXPECT_FALSE(agrees(nan, 1, {0, inf}));
  EXPECT_FALSE(agrees(1, nan, {0, inf}));
  EXPECT_FALSE(agrees(nan, inf, {0, inf}));
}

TEST(Agrees, InfinityAgreesWithTheSameOnly) {
  EXPECT_TRUE(agrees(inf, inf, {0, 0}));
  EXPECT_FALSE(agrees(-inf, inf, {1, 1}));
  EXPECT_FALSE(agrees(1e308, inf, {1, 1}));
  EXPECT_FALSE(agrees(inf, 1e308, {1, inf}));
}

TEST(Agrees, ToleranceIsRelativeToTheExpectedValue) {
  EXPECT_TRUE(agrees(101, 100, {0.01, 0}));
  EXPECT_FALSE(agrees(101.5, 100, {0.01, 0}));
  EXPECT_TRUE(agrees(101.5, 100, {0.01, 0.5}));
}

case_file expecting(const std::string& name, std::vector<double> values) {
  case_file c;
  c.inputs["x"] = {"float64", {}, {0}, 1};
  const auto count = static_cast<conformance::index>(values.size());
  c.outputs[name] = {"float64", {count}, std::move(values), 1};
  return c;
}

TEST(Compare, AMissingOutputIsADifferenceAndAMissingGradientIsCounted) {
  const case_file output = expecting("output", {1});
  EXPECT_FALSE(conformance::compare(output, {}, mode{}).difference.empty());
  const case_file gradient = expecting("grad_query", {1});
  EXPECT_TRUE(conformance::compare(gradient, {}, mode{}).difference.empty());
  EXPECT_EQ(conformance::compare(gradient, {}, mode{}).unchecked_gradients, 1);
}

TEST(Compare, AnotherShapeIsADifference) {
  const outputs got = {{"output", {{1, 2}, {1, 2}, 0}}};
  EXPECT_FALSE(conformance::compare(expecting("output", {1, 2}), got, mode{}).difference.empty());
}

TEST(Compare, OnlyFloatRunsMayUseTheBound) {
  const case_file c = expecting("output", {1});
  const outputs got = {{"output", {{1}, {1.001}, 0.01}}};
  mode single;
  single.single_precision = true;
  EXPECT_FALSE(conformance::compare(c, got, mode{}).difference.empty());
  EXPECT_TRUE(conformance::compare(c, got, single).difference.empty());
}

TEST(Compare, ASampledTensorIsCheckedByPositionAndBySum) {
  case_file c = expecting("other", {});
  c.outputs.clear();
  c.samples["output"] = {{3}, 6, 6, {1}, {2}};
  const auto difference = [&](std::vector<double> values) {
    const outputs got = {{"output", {{3}, std::move(values), 0}}};
    return conformance::compare(c, got, mode{}).difference;
  };
  EXPECT_EQ(difference({1, 2, 3}), "");
  EXPECT_NE(difference({1, 2.5, 2.5}), "");
  EXPECT_NE(difference({1, 2, 4}), "");
  EXPECT_NE(difference({1, 2, nan}), "");
}

}  // namespace
}  // namespace compare_test
