#include "softlook/gradient/monotonic.hpp"

#include <limits>

#include "softlook/exec/thread_pool.hpp"
#include "softlook/mask/padding.hpp"
#include "softlook/transform/transforms.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::monotonic_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;

TEST(MonotonicGradient, OfWeightsIsThatOfDifferences) {
  generator random = seed(17401);
  matrix E = random_matrix<matrix>(5, 7, random, 2), dW = random_matrix<matrix>(5, 7, random);
  Eigen::RowVectorXd previous = random_matrix<matrix>(1, 7, random).cwiseAbs();
  const auto g = monotonic_weights_backward(E, previous, dW);
  for (const monotonic_form form : {monotonic_form::recursive, monotonic_form::parallel}) {
    const auto loss = [&] { return inner_product(dW, monotonic_weights(E, previous, form)); };
    expect_gradient("E", E, g.dE, loss);
    expect_gradient("previous", previous, g.dprevious, loss);
  }
}

TEST(MonotonicGradient, OfAttentionIsThatOfDifferences) {
  generator random = seed(17402);
  const heads h{.query = 4, .kv = 2};
  matrix Q = random_matrix<matrix>(5, 12, random), K = random_matrix<matrix>(7, 6, random);
  matrix V = random_matrix<matrix>(7, 4, random), bias = matrix::Constant(1, 1, -0.7);
  matrix previous = random_matrix<matrix>(4, 7, random).cwiseAbs();
  const matrix dO = random_matrix<matrix>(5, 8, random), dW = random_matrix<matrix>(20, 7, random);
  const auto check = [&](const auto&... policies) {
    const auto how = [&] { return monotonic_options{.score_bias = bias(0, 0)}; };
    const auto g = monotonic_attention_backward(Q, K, V, how(), previous, dO, dW, h, policies...);
    const auto loss = [&] {
      const auto made = monotonic_attention(Q, K, V, how(), previous, h, policies...);
      double sum = inner_product(dO, made.output);
      for (index head = 0; head < 4; ++head)
        sum += inner_product(dW.middleRows(head * 5, 5), made.weights[std::size_t(head)]);
      return sum;
    };
    expect_gradient("Q", Q, g.dQ, loss);
    expect_gradient("K", K, g.dK, loss);
    expect_gradient("V", V, g.dV, loss);
    expect_gradient("previous", previous, g.dprevious, loss);
    expect_gradient("bias", bias, matrix::Constant(1, 1, g.dscore_bias).eval(), loss);
  };
  check();
  check(masks::padding{.length = 5}, scores::dot{}, transforms::soft_cap{1.5},
        options{.scale = 0.4});
}

/// A decoder goes on from the weights of the step before, and back.
TEST(MonotonicGradient, OfStepsIsThatOfAllQueries) {
  generator random = seed(17403);
  const matrix Q = random_matrix<matrix>(4, 3, random), K = random_matrix<matrix>(6, 3, random);
  const matrix V = random_matrix<matrix>(6, 2, random), dO = random_matrix<matrix>(4, 2, random);
  const Eigen::RowVectorXd start = monotonic_start<double>(6);
  const auto all = monotonic_attention_backward(Q, K, V, {}, start, dO);
  const matrix W = monotonic_attention(Q, K, V, {}, start).weights;
  matrix dK = matrix::Zero(6, 3), dV = matrix::Zero(6, 2), d = matrix::Zero(1, 6);
  for (index i = 3; i >= 0; --i) {
    const Eigen::RowVectorXd before = i > 0 ? Eigen::RowVectorXd(W.row(i - 1)) : start;
    const matrix q = Q.row(i), of = dO.row(i);
    const auto g = monotonic_attention_backward(q, K, V, {}, before, of, d);
    EXPECT_LE((g.dQ - all.dQ.row(i)).cwiseAbs().maxCoeff(), 1e-14);
    dK += g.dK;
    dV += g.dV;
    d = g.dprevious;
  }
  EXPECT_LE((dK - all.dK).cwiseAbs().maxCoeff(), 1e-14);
  EXPECT_LE((dV - all.dV).cwiseAbs().maxCoeff(), 1e-14);
  EXPECT_LE((d - all.dprevious).cwiseAbs().maxCoeff(), 1e-14);
}

TEST(MonotonicGradient, DoesNotDependOnThreadsOrStorage) {
  generator random = seed(17404);
  const heads h{.query = 4, .kv = 2};
  const matrix Q = random_matrix<matrix>(30, 12, random), K = random_matrix<matrix>(40, 6, random);
  const matrix V = random_matrix<matrix>(40, 4, random), dO = random_matrix<matrix>(30, 8, random);
  const matrix start = monotonic_start<double>(40, 4);
  const auto one = monotonic_attention_backward(Q, K, V, {}, start, dO, h);
  const exec::thread_pool pool(3);
  const col_major<double> q = Q, k = K, v = V, d = dO, s = start;
  const auto three = monotonic_attention_backward(q, k, v, {}, s, d, h, pool);
  EXPECT_EQ(one.dQ, three.dQ);
  EXPECT_EQ(one.dK, three.dK);
  EXPECT_EQ(one.dV, three.dV);
  EXPECT_EQ(one.dprevious, three.dprevious);
  EXPECT_EQ(one.dscore_bias, three.dscore_bias);
  const auto f = monotonic_attention_backward(
      Q.cast<float>().eval(), K.cast<float>().eval(), V.cast<float>().eval(), {},
      start.cast<float>().eval(), dO.cast<float>().eval(), h);
  expect_same_gradient("Q", f.dQ, one.dQ);
  expect_same_gradient("K", f.dK, one.dK);
  expect_same_gradient("V", f.dV, one.dV);
}

TEST(MonotonicGradient, KeepsApartWhatCannotBeChosen) {
  generator random = seed(17405);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  matrix Q = random_matrix<matrix>(4, 3, random), K = random_matrix<matrix>(6, 3, random);
  matrix V = random_matrix<matrix>(6, 2, random);
  K.bottomRows(2).setConstant(nan);
  V.bottomRows(2).setConstant(inf);
  const auto g =
      monotonic_attention_backward(Q, K, V, {}, monotonic_start<double>(6),
                                   matrix::Ones(4, 2).eval(), masks::padding{.length = 4});
  EXPECT_TRUE(g.dQ.allFinite());
  EXPECT_TRUE(g.dV.allFinite());
  EXPECT_EQ(g.dK.bottomRows(2), matrix::Zero(2, 3));
  EXPECT_EQ(g.dV.bottomRows(2), matrix::Zero(2, 2));
  matrix E = random_matrix<matrix>(2, 4, random);
  E(0, 1) = -inf;
  E(0, 2) = inf;
  const matrix dE =
      monotonic_weights_backward(E, monotonic_start<double>(4), matrix::Ones(2, 4).eval()).dE;
  EXPECT_TRUE(dE.allFinite());
  EXPECT_EQ(dE(0, 1), 0);
  EXPECT_EQ(dE(0, 2), 0);
}

TEST(MonotonicGradient, OfNothingIsNothing) {
  for (const auto& [n, m] : {std::pair<index, index>{0, 5}, {4, 0}}) {
    const matrix Q = matrix::Ones(n, 3), K = matrix::Ones(m, 3), V = matrix::Ones(m, 2);
    const auto g = monotonic_attention_backward(Q, K, V, {}, monotonic_start<double>(m),
                                                matrix::Ones(n, 2).eval());
    EXPECT_EQ(g.dQ, matrix::Zero(n, 3));
    EXPECT_EQ(g.dK, matrix::Zero(m, 3));
    EXPECT_EQ(g.dV, matrix::Zero(m, 2));
    EXPECT_EQ(g.dprevious, matrix::Zero(1, m));
  }
}

TEST(MonotonicGradient, RefusesWhatDoesNotFit) {
  const matrix X = matrix::Ones(4, 3), longer = matrix::Ones(5, 3);
  const Eigen::RowVectorXd start = monotonic_start<double>(4);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)monotonic_attention_backward(X, X, X, {}, start, longer);
            }).find("monotonic_attention_backward: dO.rows() is 5 but Q.rows() is 4"),
            std::string::npos);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)monotonic_attention_backward(X, X, X, {}, start, X, X);
            }).find("dweights.cols() is 3"),
            std::string::npos);
  EXPECT_NE(message_of<argument_error>([&] {
              (void)monotonic_attention_backward(X, X, X, {monotonic_form::hard}, start, X);
            }).find("the form is hard"),
            std::string::npos);
  EXPECT_THROW((void)monotonic_weights_backward(X, start, X), shape_error);
  EXPECT_THROW((void)monotonic_weights_backward(X, Eigen::RowVectorXd::Ones(3).eval(), longer),
               shape_error);
}

}  // namespace
}  // namespace softlook::monotonic_test
