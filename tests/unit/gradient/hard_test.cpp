#include "softlook/gradient/hard.hpp"

#include <cmath>
#include <limits>

#include "softlook/attention/weights.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/transform/transforms.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::hard_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using choices = Eigen::Matrix<index, Eigen::Dynamic, Eigen::Dynamic>;

/// Σ dO ∘ (chosen values) + Σ dlog ∘ ln softmax(scores)_choice, from weights alone.
template <class... Ps>
double value_of_choices(const matrix& Q, const matrix& K, const matrix& V, const choices& choice,
                        const matrix& dO, const matrix& dlog, const heads& h,
                        const Ps&... policies) {
  const auto P = attention_weights(Q, K, h, policies...);
  const index e = V.cols() / h.kv_or_query(), group = h.query / h.kv_or_query();
  double sum = 0;
  for (index head = 0; head < h.query; ++head)
    for (index i = 0; i < Q.rows(); ++i) {
      const index j = choice(i, head);
      if (j < 0) continue;
      sum += dlog(i, head) * std::log(P[std::size_t(head)](i, j));
      for (index x = 0; x < e; ++x) sum += dO(i, head * e + x) * V(j, head / group * e + x);
    }
  return sum;
}

TEST(HardGradient, OfAChoiceIsThatOfDifferences) {
  generator random = seed(16701);
  const heads h{.query = 4, .kv = 2};
  matrix Q = random_matrix<matrix>(6, 12, random), K = random_matrix<matrix>(7, 6, random);
  matrix V = random_matrix<matrix>(7, 10, random);
  const matrix dO = random_matrix<matrix>(6, 20, random);
  const matrix dlog = random_matrix<matrix>(6, 4, random);
  const auto check = [&](const auto&... policies) {
    const auto made = hard_attention(Q, K, V, selections::sample{.seed = 3}, h, policies...);
    const choices choice = made.choice;
    const auto g = hard_attention_backward(Q, K, V, choice, dO, dlog, h, policies...);
    const auto loss = [&] { return value_of_choices(Q, K, V, choice, dO, dlog, h, policies...); };
    expect_gradient("Q", Q, g.dQ, loss);
    expect_gradient("K", K, g.dK, loss);
    expect_gradient("V", V, g.dV, loss);
    // The log-probabilities are those that the choice was told.
    EXPECT_NEAR(loss(), inner_product(dO, made.output) + inner_product(dlog, made.log_probability),
                1e-11);
  };
  check();
  check(scores::dot{}, masks::causal_top_left{}, options{.scale = 0.3});
  check(transforms::soft_cap{1.5}, transforms::alibi{0.2});
  check(frame{.first_query = 3}, masks::causal_top_left{}, transforms::alibi{0.2});
}

/// Σ_c p_c (r_c − b) ∇ ln p_c is the gradient of Σ_c p_c r_c, whatever the baseline: REINFORCE is
/// right on average.
TEST(HardGradient, OfRewardsIsRightOnAverage) {
  generator random = seed(16702);
  matrix Q = random_matrix<matrix>(1, 4, random), K = random_matrix<matrix>(5, 4, random);
  const matrix V = random_matrix<matrix>(5, 3, random), none = matrix::Zero(1, 3);
  const matrix reward = random_matrix<matrix>(1, 5, random);
  const auto expected = [&] { return inner_product(reward, attention_weights(Q, K)); };
  for (const double baseline : {0.0, 2.5}) {
    const matrix P = attention_weights(Q, K);
    matrix dQ = matrix::Zero(1, 4), dK = matrix::Zero(5, 4);
    for (index c = 0; c < 5; ++c) {
      const auto g =
          hard_attention_backward(Q, K, V, choices::Constant(1, 1, c), none,
                                  matrix::Constant(1, 1, P(0, c) * (reward(0, c) - baseline)));
      dQ += g.dQ;
      dK += g.dK;
    }
    expect_gradient("Q", Q, dQ, expected);
    expect_gradient("K", K, dK, expected);
  }
}

TEST(HardGradient, OfEntropiesIsThatOfDifferences) {
  generator random = seed(16703);
  const heads h{.query = 4, .kv = 2};
  matrix Q = random_matrix<matrix>(6, 12, random), K = random_matrix<matrix>(7, 6, random);
  const matrix dH = random_matrix<matrix>(6, 4, random);
  const auto check = [&](const auto&... policies) {
    const auto g = weight_entropies_backward(Q, K, dH, h, policies...);
    const auto loss = [&] { return inner_product(dH, weight_entropies(Q, K, h, policies...)); };
    expect_gradient("Q", Q, g.dQ, loss);
    expect_gradient("K", K, g.dK, loss);
  };
  check();
  check(scores::dot{}, masks::causal_bottom_right{}, options{.scale = 0.3});
}

TEST(HardGradient, DoesNotDependOnThreadsOrStorage) {
  generator random = seed(16704);
  const matrix Q = random_matrix<matrix>(230, 8, random), K = random_matrix<matrix>(210, 8, random);
  const matrix V = random_matrix<matrix>(210, 5, random),
               dO = random_matrix<matrix>(230, 5, random);
  const matrix dlog = random_matrix<matrix>(230, 1, random);
  const auto made = hard_attention(Q, K, V, selections::sample{.seed = 3});
  const auto one = hard_attention_backward(Q, K, V, made.choice, dO, dlog);
  const exec::thread_pool pool(3);
  const col_major<double> q = Q, k = K, v = V;
  const auto three = hard_attention_backward(q, k, v, made.choice, dO, dlog, pool);
  EXPECT_EQ(one.dQ, three.dQ);
  EXPECT_EQ(one.dK, three.dK);
  EXPECT_EQ(one.dV, three.dV);
  const row_major<float> narrow = Q.cast<float>();
  const auto f =
      hard_attention_backward(narrow, K.cast<float>().eval(), V.cast<float>().eval(), made.choice,
                              dO.cast<float>().eval(), dlog.cast<float>().eval());
  expect_same_gradient("Q", f.dQ, one.dQ);
  expect_same_gradient("K", f.dK, one.dK);
  expect_same_gradient("V", f.dV, one.dV);
}

TEST(HardGradient, KeepsApartWhatWasNotSeen) {
  generator random = seed(16705);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  matrix Q = random_matrix<matrix>(4, 3, random), K = random_matrix<matrix>(4, 3, random);
  matrix V = random_matrix<matrix>(4, 2, random);
  V.row(3).setConstant(nan);
  K.row(3).setConstant(nan);
  const masks::causal_top_left mask;
  const auto made = hard_attention(Q, K, V, selections::argmax{}, mask);
  ASSERT_EQ(made.choice(3), -1);  // a NaN among its scores
  const auto g =
      hard_attention_backward(Q, K, V, made.choice, matrix::Ones(4, 2), matrix::Ones(4, 1), mask);
  EXPECT_TRUE(g.dQ.topRows(3).allFinite());
  EXPECT_TRUE(g.dQ.row(3).array().isNaN().all());
  EXPECT_TRUE(g.dV.allFinite());
  EXPECT_EQ(g.dV.row(3), matrix::Zero(1, 2));
}

TEST(HardGradient, OfNothingIsNothing) {
  for (const auto& [n, m] : {std::pair<index, index>{0, 5}, {4, 0}}) {
    const matrix Q = matrix::Ones(n, 3), K = matrix::Ones(m, 3), V = matrix::Ones(m, 2);
    const auto made = hard_attention(Q, K, V, selections::argmax{});
    const auto g =
        hard_attention_backward(Q, K, V, made.choice, matrix::Ones(n, 2), matrix::Ones(n, 1));
    EXPECT_EQ(g.dQ, matrix::Zero(n, 3));
    EXPECT_EQ(g.dK, matrix::Zero(m, 3));
    EXPECT_EQ(g.dV, matrix::Zero(m, 2));
    const auto of = weight_entropies_backward(Q, K, matrix::Ones(n, 1));
    EXPECT_EQ(of.dQ, matrix::Zero(n, 3));
    EXPECT_EQ(of.dK, matrix::Zero(m, 3));
  }
}

TEST(HardGradient, RefusesWhatDoesNotFit) {
  const matrix Q = matrix::Ones(2, 3), K = matrix::Ones(4, 3), V = matrix::Ones(4, 2);
  const matrix dO = matrix::Ones(2, 2), dlog = matrix::Ones(2, 1);
  const choices chosen = choices::Zero(2, 1);
  EXPECT_NE(message_of<argument_error>([&] {
              (void)hard_attention_backward(Q, K, V, choices::Constant(2, 1, 4), dO, dlog);
            }).find("hard_attention_backward: choice is 4"),
            std::string::npos);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)hard_attention_backward(Q, K, V, choices::Zero(3, 1), dO, dlog);
            }).find("choice.rows() is 3 but Q.rows() is 2"),
            std::string::npos);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)hard_attention_backward(Q, K, V, chosen, V, dlog);
            }).find("dO.rows() is 4"),
            std::string::npos);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)hard_attention_backward(Q, K, V, chosen, dO, dO);
            }).find("dlog_probability.cols() is 2 but the columns of the result is 1"),
            std::string::npos);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)weight_entropies_backward(Q, K, dO);
            }).find("dH.cols() is 2"),
            std::string::npos);
}

TEST(MovingBaseline, FollowsTheRewards) {
  moving_baseline b{.decay = 0.5};
  EXPECT_EQ(b.advantage(4), 4);
  EXPECT_EQ(b.value, 2);
  EXPECT_EQ(b.advantage(1), -1);
  EXPECT_EQ(b.value, 1.5);
  moving_baseline wrong{.decay = 2};
  EXPECT_THROW(wrong.advantage(1), argument_error);
}

}  // namespace
}  // namespace softlook::hard_test
