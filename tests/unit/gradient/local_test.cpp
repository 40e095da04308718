#include "softlook/gradient/local.hpp"

#include <limits>

#include "softlook/exec/thread_pool.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/transform/transforms.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::local_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;

struct inputs {
  matrix Q, K, V, dO, W;
  Eigen::RowVectorXd v;
};
inputs some(index n, index m, const heads& h, index seed_of) {
  generator random = seed(std::uint64_t(seed_of));
  const auto of = [&](index rows, index cols) { return random_matrix<matrix>(rows, cols, random); };
  inputs in{of(n, 4 * h.query),
            of(m, 4 * h.kv_or_query()),
            of(m, 3 * h.kv_or_query()),
            of(n, 3 * h.query),
            of(4, 5),
            {}};
  in.v = of(1, 5);
  return in;
}

TEST(LocalGradient, OfPredictedPositionsIsThatOfDifferences) {
  const heads h{.query = 2, .kv = 1};
  inputs in = some(4, 11, h, 16801);
  for (const index window : {1, 3, 40}) {
    const alignments::predictive<double> alignment(in.W, in.v, window);
    const auto check = [&](const auto&... policies) {
      const auto g = local_attention_backward(in.Q, in.K, in.V, alignment, in.dO, h, policies...);
      const auto loss = [&] {
        return inner_product(in.dO,
                             local_attention(in.Q, in.K, in.V, alignment, h, policies...).output);
      };
      SCOPED_TRACE(window);
      expect_gradient("Q", in.Q, g.dQ, loss);
      expect_gradient("K", in.K, g.dK, loss);
      expect_gradient("V", in.V, g.dV, loss);
      expect_gradient("W", in.W, g.dW, loss);
      expect_gradient("v", in.v, g.dv, loss);
    };
    check();
    check(scores::dot{}, masks::causal_top_left{}, options{.scale = 0.3});
    check(transforms::soft_cap{1.5}, transforms::alibi{0.1});
  }
}

TEST(LocalGradient, OfMonotonicWindowsIsThatOfDifferences) {
  const heads h{.query = 2};
  inputs in = some(9, 6, h, 16802);  // the last queries see no key
  const alignments::monotonic alignment{.window = 1, .first = 1};
  const auto g = local_attention_backward(in.Q, in.K, in.V, alignment, in.dO, h);
  const auto loss = [&] {
    return inner_product(in.dO, local_attention(in.Q, in.K, in.V, alignment, h));
  };
  expect_gradient("Q", in.Q, g.dQ, loss);
  expect_gradient("K", in.K, g.dK, loss);
  expect_gradient("V", in.V, g.dV, loss);
  EXPECT_EQ(g.dQ.bottomRows(2), matrix::Zero(2, 8));
}

TEST(LocalGradient, OfManyRowsIsThatOfTheFormulas) {
  const inputs in = some(130, 300, {}, 16803);
  const index D = 17;
  const alignments::predictive<double> alignment(in.W, in.v, D);
  const auto made = local_attention(in.Q, in.K, in.V, alignment);
  const matrix A = local_attention_weights(in.Q, in.K, alignment);
  const matrix X = A.cwiseProduct(in.dO * in.V.transpose());
  const auto g = local_attention_backward(in.Q, in.K, in.V, alignment, in.dO);
  EXPECT_LE((g.dV - A.transpose() * in.dO).cwiseAbs().maxCoeff(), 1e-12);
  matrix dS = X, dQ = matrix::Zero(130, 4);
  Eigen::RowVectorXd dv = Eigen::RowVectorXd::Zero(5);
  for (index i = 0; i < 130; ++i) {
    const double p = made.position(i), along = X.row(i).sum();
    double dp = 0;
    for (index j = 0; j < 300; ++j) {
      const double away = double(j) - p;
      const double P = A(i, j) / std::exp(-2 * away * away / double(D * D));
      if (A(i, j) == 0) continue;
      dS(i, j) -= P * along;
      dp += X(i, j) * away * 4 / double(D * D);
    }
    const Eigen::RowVectorXd hidden = (in.Q.row(i) * in.W).array().tanh();
    const double dz = dp * p * (1 - p / 300);
    dv += dz * hidden;
    dQ.row(i) = dz * (in.v.array() * (1 - hidden.array().square())).matrix() * in.W.transpose();
  }
  dQ += dS * in.K / 2;
  EXPECT_LE((g.dQ - dQ).cwiseAbs().maxCoeff(), 1e-11 * dQ.cwiseAbs().maxCoeff());
  EXPECT_LE((g.dK - dS.transpose() * in.Q / 2).cwiseAbs().maxCoeff(), 1e-11);
  EXPECT_LE((g.dv - dv).cwiseAbs().maxCoeff(), 1e-11 * dv.cwiseAbs().maxCoeff());
}

TEST(LocalGradient, DoesNotDependOnThreadsOrStorage) {
  const heads h{.query = 4, .kv = 2};
  const inputs in = some(60, 90, h, 16804);
  const alignments::predictive<double> alignment(in.W, in.v, 5);
  const auto one = local_attention_backward(in.Q, in.K, in.V, alignment, in.dO, h);
  const exec::thread_pool pool(3);
  const col_major<double> Q = in.Q, K = in.K, V = in.V, dO = in.dO, W = in.W;
  const alignments::predictive<double> by_columns(W, in.v, 5);
  const auto three = local_attention_backward(Q, K, V, by_columns, dO, h, pool);
  EXPECT_EQ(one.dQ, three.dQ);
  EXPECT_EQ(one.dK, three.dK);
  EXPECT_EQ(one.dV, three.dV);
  EXPECT_EQ(one.dW, three.dW);
  EXPECT_EQ(one.dv, three.dv);
  const row_major<float> Wf = in.W.cast<float>();
  const Eigen::RowVectorXf vf = in.v.cast<float>();
  const auto f = local_attention_backward(
      in.Q.cast<float>().eval(), in.K.cast<float>().eval(), in.V.cast<float>().eval(),
      alignments::predictive<float>(Wf, vf, 30), in.dO.cast<float>().eval(), h);
  const auto d = local_attention_backward(in.Q, in.K, in.V,
                                          alignments::predictive<double>(in.W, in.v, 30), in.dO, h);
  // A key on the edge of a window may be in one of them only; its weight is e^-2 of the middle's.
  expect_same_gradient("V", f.dV, d.dV, 1e-4);
  expect_same_gradient("Q", f.dQ, d.dQ, 1e-3);
}

TEST(LocalGradient, KeepsApartWhatIsOutsideTheWindows) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  inputs in = some(5, 30, {}, 16805);
  in.v.setConstant(-20);
  in.W.setConstant(0.1);
  in.Q.array() = in.Q.array().abs() + 1;  // positions near 0
  in.K.bottomRows(20).setConstant(nan);
  in.V.bottomRows(20).setConstant(nan);
  const alignments::predictive<double> alignment(in.W, in.v, 3);
  const auto g = local_attention_backward(in.Q, in.K, in.V, alignment, in.dO);
  EXPECT_TRUE(g.dQ.allFinite());
  EXPECT_TRUE(g.dK.allFinite());
  EXPECT_EQ(g.dK.bottomRows(20), matrix::Zero(20, 4));
  EXPECT_EQ(g.dV.bottomRows(20), matrix::Zero(20, 3));
  in.Q(2, 1) = nan;
  const auto of = local_attention_backward(in.Q, in.K, in.V, alignment, in.dO);
  EXPECT_TRUE(of.dQ.topRows(2).allFinite());
  EXPECT_TRUE(of.dQ.bottomRows(2).allFinite());
  EXPECT_TRUE(of.dQ.row(2).array().isNaN().all());
}

TEST(LocalGradient, OfNothingIsNothing) {
  for (const auto& [n, m] : {std::pair<index, index>{0, 5}, {4, 0}}) {
    const inputs in = some(n, m, {}, 16806);
    const alignments::predictive<double> alignment(in.W, in.v, 2);
    const auto g = local_attention_backward(in.Q, in.K, in.V, alignment, in.dO);
    EXPECT_EQ(g.dQ, matrix::Zero(n, 4));
    EXPECT_EQ(g.dK, matrix::Zero(m, 4));
    EXPECT_EQ(g.dV, matrix::Zero(m, 3));
    EXPECT_EQ(g.dW, matrix::Zero(4, 5));
    EXPECT_EQ(g.dv, Eigen::RowVectorXd::Zero(5));
  }
}

TEST(LocalGradient, RefusesWhatDoesNotFit) {
  const inputs in = some(4, 6, {}, 16807);
  const alignments::predictive<double> alignment(in.W, in.v, 2), none(in.W, in.v, 0);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)local_attention_backward(in.Q, in.K, in.V, alignment, in.V);
            }).find("local_attention_backward: dO.rows() is 6 but Q.rows() is 4"),
            std::string::npos);
  EXPECT_NE(message_of<argument_error>([&] {
              (void)local_attention_backward(in.Q, in.K, in.V, none, in.dO);
            }).find("local_attention_backward: window is 0"),
            std::string::npos);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)local_attention_backward(in.Q, in.K, in.V, alignments::monotonic{}, in.V);
            }).find("dO.rows() is 6"),
            std::string::npos);
}

}  // namespace
}  // namespace softlook::local_test
