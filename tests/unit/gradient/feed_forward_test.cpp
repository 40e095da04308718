#include "softlook/gradient/feed_forward.hpp"

#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::feed_forward_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using parameters = feed_forward_parameters<double>;

parameters weights_of(index features, index hidden, bool bias, bool gate, generator& random) {
  const auto weights = [&](index rows, index cols) {
    return random_matrix<parameters::matrix>(rows, cols, random);
  };
  parameters p;
  p.W1 = weights(features, hidden);
  p.W2 = weights(hidden, features);
  if (gate) p.W3 = weights(features, hidden);
  if (!bias) return p;
  p.b1 = random_matrix<parameters::row>(1, hidden, random);
  p.b2 = random_matrix<parameters::row>(1, features, random);
  if (gate) p.b3 = random_matrix<parameters::row>(1, hidden, random);
  return p;
}

TEST(FeedForwardGradient, IsThatOfDifferences) {
  generator random = seed(16031);
  for (const activation f : {activation::relu, activation::gelu, activation::silu})
    for (const bool gate : {false, true}) {
      parameters p = weights_of(3, 5, f != activation::silu, gate, random);
      matrix X = random_matrix<matrix>(4, 3, random);
      const matrix dY = random_matrix<matrix>(4, 3, random);
      saved_feed_forward<double> saved, other;
      const matrix Y = feed_forward_forward(p, X, saved, f);
      matrix hidden = X * p.W1;
      if (p.b1.size() > 0) hidden.rowwise() += p.b1;
      detail::activate(f, instruction_set::baseline, hidden.data(), hidden.size());
      if (gate) {
        matrix factor = X * p.W3;
        if (p.b3.size() > 0) factor.rowwise() += p.b3;
        hidden = hidden.cwiseProduct(factor).eval();
      }
      matrix expected = hidden * p.W2;
      if (p.b2.size() > 0) expected.rowwise() += p.b2;
      EXPECT_LE((Y - expected).cwiseAbs().maxCoeff(), 1e-12);
      parameters gradients = zeros_like(p);
      const matrix dX = feed_forward_backward(p, saved, dY, gradients, f);
      const auto loss = [&] { return inner_product(dY, feed_forward_forward(p, X, other, f)); };
      expect_gradient("X", X, dX, loss);
      expect_parameter_gradients(p, gradients, loss);
      const parameters::matrix once = gradients.W1;
      feed_forward_backward(p, saved, dY, gradients, f);
      EXPECT_LE((gradients.W1 - 2 * once).cwiseAbs().maxCoeff(), 1e-11);
    }
}

TEST(FeedForwardGradient, RefusesWhatDoesNotFit) {
  generator random = seed(16032);
  parameters p = weights_of(3, 5, true, true, random), gradients = zeros_like(p);
  saved_feed_forward<double> saved;
  expect_error<shape_error>(
      [&] { feed_forward_forward(p, matrix::Zero(2, 4), saved, activation::relu); },
      {"X.cols() is 4", "W1.rows() is 3"});
  parameters other = p;
  other.W3.resize(3, 4);
  expect_error<shape_error>(
      [&] { feed_forward_forward(other, matrix::Zero(2, 3), saved, activation::relu); },
      {"W3.cols() is 4", "W1.cols() is 5"});
  EXPECT_EQ(saved.Y.size(), 0);
  feed_forward_forward(p, matrix::Zero(2, 3), saved, activation::relu);
  expect_error<shape_error>(
      [&] { feed_forward_backward(p, saved, matrix::Zero(2, 4), gradients, activation::relu); },
      {"dY.cols() is 4", "is 3"});
  EXPECT_EQ(gradients.W1.cwiseAbs().maxCoeff(), 0);
}

TEST(FeedForwardGradient, IsFiniteInFloat) {
  generator random = seed(16033);
  const auto p = cast_parameters<float>(weights_of(3, 5, true, true, random));
  auto gradients = zeros_like(p);
  saved_feed_forward<float> saved;
  feed_forward_forward(p, row_major<float>::Constant(2, 3, 30), saved, activation::silu);
  EXPECT_TRUE(
      feed_forward_backward(p, saved, row_major<float>::Ones(2, 3), gradients, activation::silu)
          .allFinite());
}

}  // namespace
}  // namespace softlook::feed_forward_test
