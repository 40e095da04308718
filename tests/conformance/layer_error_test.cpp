#include "layer_error.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/random.hpp"

namespace layer_error_test {
namespace {

using conformance::mode;

constexpr double useful = 0.05;  // the outputs of these layers are about 1
constexpr double epsilon = std::numeric_limits<float>::epsilon();

TEST(NormError, GrowsAsTheDeviationOfARowShrinks) {
  conformance::norm_row row;
  row.features = 16;
  row.magnitude = 0;
  row.gain = 1;
  row.deviation = 1;
  const double before = conformance::norm_error(0, 1e-4, row);
  row.deviation = 1e-2;
  EXPECT_GT(conformance::norm_error(0, 1e-4, row), 100 * before);
  row.deviation = 1e-4 / 4;  // the error may be all there is of the row
  EXPECT_TRUE(std::isinf(conformance::norm_error(0, 1e-4, row)));
}

TEST(MixtureError, IsFirstOrderForSmallErrorsAndInfiniteForLargeOnes) {
  EXPECT_NEAR(conformance::mixture_error(epsilon, 2), 2, 16 * epsilon);
  EXPECT_TRUE(std::isinf(conformance::mixture_error(1, 0)));
}

Eigen::MatrixXd random(softlook_test::generator& g, Eigen::Index rows, Eigen::Index cols) {
  Eigen::MatrixXd X(rows, cols);
  for (double& x : X.reshaped()) x = g.uniform(-0.5, 0.5);
  return X;
}

conformance::encoder_call random_layer(softlook_test::generator& g) {
  const Eigen::Index features = 8, hidden = 12, rows = g.integer(1, 9);
  conformance::encoder_call call;
  auto& p = call.layers.emplace_back();
  auto& a = p.self_attention;
  for (Eigen::MatrixXd* W : {&a.Wq, &a.Wk, &a.Wv, &a.Wo}) *W = random(g, features, features);
  a.bq = random(g, 1, features);
  p.W1 = random(g, features, hidden);
  p.W2 = random(g, hidden, features);
  p.b2 = random(g, 1, features);
  p.gain1 = p.gain2 = Eigen::RowVectorXd::Ones(features);
  call.options.heads.query = 2;
  call.options.norm_first = g.chance(0.5);
  if (g.chance(0.5)) call.options.activation = softlook::activation::gelu;
  call.X = conformance::grid::zeros(1, 1, rows, features);
  for (double& x : call.X.values) x = g.uniform(-1, 1);
  return call;
}

TEST(FloatBounds, HoldForEncoderLayersAndSaySomething) {
  softlook_test::generator g(4);
  const auto isa = softlook::instruction_set::baseline;
  for (int trial = 0; trial < 50; ++trial) {
    const conformance::encoder_call call = random_layer(g);
    const auto exact = run(mode{mode::path::naive, isa, false}, call);
    const auto rounded = run(mode{mode::path::automatic, isa, true}, call);
    double worst = 0;
    for (std::size_t i = 0; i < exact.output.values.size(); ++i)
      worst = std::max(worst, std::abs(exact.output.values[i] - rounded.output.values[i]));
    EXPECT_LE(worst, rounded.output_bound);
    EXPECT_GT(worst, 0);
    EXPECT_LT(rounded.output_bound, useful);
  }
}

}  // namespace
}  // namespace layer_error_test
