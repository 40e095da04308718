#include "softlook/gradient/location_aware.hpp"

#include "softlook/mask/padding.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::location_aware_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using vector = Eigen::VectorXd;

location_aware_parameters<double> location_weights(bool biased, generator& random) {
  location_aware_parameters<double> p;
  p.Wq = random_matrix<matrix>(4, 5, random, 0.5);
  p.Wk = random_matrix<matrix>(3, 5, random, 0.5);
  p.filters = random_matrix<matrix>(2, 4, random);
  p.U = random_matrix<matrix>(2, 5, random);
  p.v = random_matrix<vector>(5, 1, random);
  if (biased) p.b = random_matrix<vector>(5, 1, random);
  return p;
}
coverage_parameters<double> coverage_weights(bool biased, generator& random) {
  const auto p = location_weights(biased, random);
  return {p.Wq, p.Wk, random_matrix<vector>(5, 1, random), p.v, p.b};
}

/// Three steps, each of which sees what the ones before left: their sum (coverage), or the last.
template <class P, class... Ps>
void expect_steps(P p, bool sums, generator& random, const Ps&... policies) {
  constexpr int steps = 3;
  matrix K = random_matrix<matrix>(6, 3, random), V = random_matrix<matrix>(6, 2, random);
  matrix Q = random_matrix<matrix>(steps, 4, random);
  const matrix dC = random_matrix<matrix>(steps, 2, random);
  Eigen::RowVectorXd start = random_matrix<matrix>(1, 6, random).cwiseAbs();
  const auto run = [&](saved_memory<double>& memory, saved_location_step<double>* saved) {
    memory_forward(p, K, V, memory);
    Eigen::RowVectorXd before = start;
    double sum = 0;
    for (int i = 0; i < steps; ++i) {
      sum += inner_product(
          dC.row(i), location_step_forward(p, memory, Q.row(i), before, saved[i], policies...));
      const Eigen::RowVectorXd weights = saved[i].step.weights;
      before = sums ? Eigen::RowVectorXd(before + weights) : weights;
    }
    return sum;
  };
  const auto loss = [&] {
    saved_memory<double> memory;
    saved_location_step<double> saved[steps];
    return run(memory, saved);
  };
  saved_memory<double> memory;
  saved_location_step<double> saved[steps];
  run(memory, saved);
  P gradients = zeros_like(p);
  matrix dQ(steps, 4), d = matrix::Zero(1, 6);
  for (int i = steps - 1; i >= 0; --i) {
    dQ.row(i) = location_step_backward(p, memory, saved[i], dC.row(i), d, gradients, policies...);
    d = sums ? matrix(d + saved[i].dprevious) : saved[i].dprevious;
  }
  memory_backward(p, memory, gradients);
  expect_gradient("Q", Q, dQ, loss);
  expect_gradient("keys", K, memory.dkeys, loss);
  expect_gradient("values", V, memory.dvalues, loss);
  expect_gradient("start", start, d, loss);
  expect_parameter_gradients(p, gradients, loss);
}

TEST(LocationAwareGradient, OfStepsIsThatOfDifferences) {
  generator random = seed(17501);
  for (const bool biased : {true, false}) {
    expect_steps(location_weights(biased, random), false, random);
    expect_steps(coverage_weights(biased, random), true, random);
  }
  expect_steps(location_weights(true, random), false, random, masks::padding{.length = 4},
               options{.scale = 2});
  expect_steps(coverage_weights(true, random), true, random, masks::padding{.length = 4},
               options{.scale = 2});
}

TEST(LocationAwareGradient, StepsAreThoseOfTheLayer) {
  generator random = seed(17502);
  const auto p = location_weights(true, random);
  const matrix K = random_matrix<matrix>(6, 3, random), V = random_matrix<matrix>(6, 2, random);
  const matrix Q = random_matrix<matrix>(1, 4, random);
  const Eigen::RowVectorXd before = random_matrix<matrix>(1, 6, random).cwiseAbs();
  saved_memory<double> memory;
  saved_location_step<double> saved;
  memory_forward(p, K, V, memory);
  location_step_forward(p, memory, Q, before, saved);
  location_aware_attention<double> layer(p);
  layer.set_memory(K, V);
  const auto expected = layer.step(Q, before);
  EXPECT_LE((saved.step.context - expected.context).cwiseAbs().maxCoeff(), 1e-14);
  const auto c = coverage_weights(true, random);
  memory_forward(c, K, V, memory);
  location_step_forward(c, memory, Q, before, saved);
  coverage_attention<double> coverage(c);
  coverage.set_memory(K, V);
  EXPECT_LE((saved.step.weights - coverage.step(Q, before).weights).cwiseAbs().maxCoeff(), 1e-14);
}

TEST(LocationAwareGradient, OfTheCoverageLossIsThatOfDifferences) {
  generator random = seed(17503);
  matrix A = random_matrix<matrix>(5, 4, random).cwiseAbs();
  const Eigen::VectorXd dloss = random_matrix<vector>(5, 1, random);
  expect_gradient("A", A, coverage_loss_backward(A, dloss),
                  [&] { return coverage_loss(A).dot(dloss); });
  EXPECT_EQ(coverage_loss_backward(matrix(0, 4), vector(0)).rows(), 0);
  EXPECT_THROW((void)coverage_loss_backward(A, Eigen::VectorXd::Ones(4).eval()), shape_error);
}

TEST(LocationAwareGradient, RefusesWhatDoesNotFit) {
  generator random = seed(17504);
  auto p = location_weights(true, random);
  saved_memory<double> memory;
  saved_location_step<double> saved;
  memory_forward(p, matrix::Ones(6, 3), matrix::Ones(6, 2), memory);
  const matrix Q = matrix::Ones(1, 4);
  const Eigen::RowVectorXd before = Eigen::RowVectorXd::Ones(6), shorter = before.head(5);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)location_step_forward(p, memory, Q, shorter, saved);
            }).find("location_step_forward: previous.size() is 5"),
            std::string::npos);
  EXPECT_THROW((void)location_step_forward(p, memory, matrix::Ones(2, 4), before, saved),
               shape_error);
  EXPECT_EQ(saved.keys.size(), 0);
  location_step_forward(p, memory, Q, before, saved);
  auto gradients = zeros_like(p);
  EXPECT_THROW(
      (void)location_step_backward(p, memory, saved, matrix::Ones(1, 3), matrix(), gradients),
      shape_error);
  EXPECT_EQ(gradients.Wq, matrix::Zero(4, 5));
  p.U = matrix::Ones(3, 5);
  EXPECT_THROW((void)location_step_forward(p, memory, Q, before, saved), shape_error);
}

}  // namespace
}  // namespace softlook::location_aware_test
