#include "softlook/gradient/linear.hpp"

#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::linear_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;

linear_parameters<double> weights_of(index inputs, index outputs, generator& random) {
  linear_parameters<double> p;
  p.W = random_matrix<linear_parameters<double>::matrix>(inputs, outputs, random);
  p.b = random_matrix<linear_parameters<double>::row>(1, outputs, random);
  return p;
}

TEST(LinearGradient, IsThatOfDifferences) {
  generator random = seed(16001);
  for (const activation f : {activation::none, activation::relu, activation::gelu,
                             activation::gelu_tanh, activation::silu})
    for (const index n : {1, 5}) {
      linear_parameters<double> p = weights_of(7, 9, random);
      matrix X = random_matrix<matrix>(n, 7, random);
      const matrix dY = random_matrix<matrix>(n, 9, random);
      saved_linear<double> saved, other;
      linear_forward(p, X, saved, f);
      linear_parameters<double> gradients = zeros_like(p);
      const matrix dX = linear_backward(p, saved, dY, gradients, f);
      const auto loss = [&] { return inner_product(dY, linear_forward(p, X, other, f)); };
      expect_gradient("X", X, dX, loss);
      expect_parameter_gradients(p, gradients, loss);
      linear_backward(p, saved, dY, gradients, f);  // adds up
      linear_parameters<double> once = zeros_like(p);
      linear_backward(p, saved, dY, once, f);
      EXPECT_LE((gradients.W - 2 * once.W).cwiseAbs().maxCoeff(), 1e-12);
    }
}

TEST(LinearGradient, RefusesWhatDoesNotFit) {
  generator random = seed(16002);
  linear_parameters<double> p = weights_of(3, 4, random), gradients = zeros_like(p);
  saved_linear<double> saved;
  const auto refused = [&](const auto& call) { return message_of<shape_error>(call); };
  EXPECT_EQ(
      refused([&] { linear_forward(p, matrix::Zero(2, 5), saved, activation::none); }),
      "linear_forward: X.cols() is 5 but W.rows() is 3 (a row of X has an entry for each row of "
      "W)");
  linear_forward(p, matrix::Zero(2, 3), saved, activation::none);
  EXPECT_NE(refused([&] {
              linear_backward(p, saved, matrix::Zero(3, 4), gradients, activation::none);
            }).find("dY.rows() is 3"),
            std::string::npos);
  gradients.b.resize(3);
  EXPECT_NE(refused([&] {
              linear_backward(p, saved, matrix::Zero(2, 4), gradients, activation::none);
            }).find("gradients.b.cols() is 3"),
            std::string::npos);
}

TEST(Parameters, AreWalkedByName) {
  generator random = seed(16003);
  const linear_parameters<double> p = weights_of(3, 4, random);
  std::string names;
  for_each_parameter([&](const std::string& name, const auto&) { names += name + " "; }, p);
  EXPECT_EQ(names, "W b ");
  EXPECT_EQ(parameter_count(p), 16);
  const linear_parameters<float> narrow = cast_parameters<float>(p);
  EXPECT_EQ(narrow.W(2, 3), float(p.W(2, 3)));
  EXPECT_EQ(zeros_like(p).W, (linear_parameters<double>::matrix::Zero(3, 4)));
}

}  // namespace
}  // namespace softlook::linear_test
