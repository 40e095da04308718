// Where the way forward raises nothing, the way back raises no more than FE_INEXACT and
// FE_UNDERFLOW, padded lanes and empty rows included. A program of its own, because the exceptions
// are trapped: the first one ends it.
#include <gtest/gtest.h>

#include "softlook/exec/thread_pool.hpp"
#include "softlook/gradient/attention.hpp"
#include "softlook/gradient/entmax.hpp"
#include "softlook/gradient/hard.hpp"
#include "softlook/gradient/local.hpp"
#include "softlook/gradient/monotonic.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/mask/padding.hpp"
#include "softlook/mask/where.hpp"
#include "softlook/mask/window.hpp"
#include "softlook/transform/temperature.hpp"
#include "softlook/transform/transforms.hpp"
#include "tests/support/floating_point.hpp"
#include "tests/support/layers.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"
#include "tests/support/storage.hpp"

namespace softlook {
namespace {

using namespace softlook_test;

constexpr int forbidden = FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW;

template <class T>
class BackwardExceptions : public ::testing::Test {
 protected:
  problem_inputs<T> p =
      random_problem<T>({.queries = 53, .keys = 67, .features = 7, .values = 5}, seed(411));

  /// f(options, Q, O's shape as dO, the log-sum-exp's as dL)
  template <class... Policies>
  void expect_none(const Policies&... policies) const {
    for (const index queries : {index{1}, index{3}, p.Q.rows()}) {
      const row_major<T> Q = p.Q.topRows(queries);
      const row_major<T> dO = row_major<T>::Constant(queries, p.V.cols(), T(0.5));
      const row_major<T> dL = row_major<T>::Constant(queries, 1, T(-0.25));
      on_every_set([&](const options& opts) {
        attention_gradients<row_major<T>> g;
        backward_extras<T> extras;
        extras.dL = detail::view_of(dL);
        extras.scores = [](const score_gradients<T>&, index) {};
        {
          const no_exceptions trapped(forbidden);
          const auto s = attention_with_log_sum_exp(Q, p.K, p.V, policies..., opts);
          attention_backward_into(Q, p.K, p.V, s.output, s.log_sum_exp, dO, g, extras, policies...,
                                  opts);
        }
        EXPECT_TRUE(g.dQ.allFinite());
        EXPECT_TRUE(g.dK.allFinite());
        EXPECT_TRUE(g.dV.allFinite());
      });
    }
  }
};
TYPED_TEST_SUITE(BackwardExceptions, scalars, scalar_names);

TYPED_TEST(BackwardExceptions, NoneWithoutAMask) {
  this->expect_none();
  const exec::thread_pool pool(3);
  this->expect_none(pool);
}

TYPED_TEST(BackwardExceptions, NoneUnderMasksAndForEmptyRows) {
  this->expect_none(masks::causal_top_left{});
  this->expect_none(masks::causal_bottom_right{});
  this->expect_none(masks::window{.left = 3, .right = 1});
  this->expect_none(masks::padding{.length = 30});
  this->expect_none(masks::causal{.offset = -20});
  this->expect_none(masks::padding{.length = 0});
  this->expect_none(masks::where([](std::int32_t i, std::int32_t) { return i % 2 == 0; }));
}

TYPED_TEST(BackwardExceptions, NoneForABiasOfMinusInfinity) {
  using T = TypeParam;
  row_major<T> B = row_major<T>::Zero(1, 67);
  B.leftCols(40).setConstant(-std::numeric_limits<T>::infinity());
  this->expect_none(transforms::bias{B});
  B.setConstant(-std::numeric_limits<T>::infinity());
  this->expect_none(transforms::bias{B});
}

TYPED_TEST(BackwardExceptions, NoneUnderTransforms) {
  const Eigen::VectorXd t = Eigen::VectorXd::Constant(1, 0.5);
  this->expect_none(transforms::soft_cap{2.0});
  this->expect_none(transforms::alibi{0.5}, masks::causal_bottom_right{});
  this->expect_none(transforms::temperature(t), masks::causal{.offset = -20});
  this->expect_none(transforms::map([](auto s, std::int32_t, std::int32_t) { return s * s; }));
}

TYPED_TEST(BackwardExceptions, NoneForScoresOfAnySize) {
  const auto K = this->p.K;
  for (const double size : {0.0, 1e-30, 1e-4, 10.0, 1e4, 1e15}) {
    this->p.K = K * static_cast<TypeParam>(size);
    this->expect_none();
  }
}

TYPED_TEST(BackwardExceptions, NoneForSubnormalNumbers) {
  this->p.Q *= std::numeric_limits<TypeParam>::denorm_min() * 50;
  this->p.V *= std::numeric_limits<TypeParam>::denorm_min() * 50;
  this->expect_none();
}

TYPED_TEST(BackwardExceptions, NoneForEdgeSizes) {
  using T = TypeParam;
  for (const index m : {0, 1, 2})
    for (const index d : {0, 1}) {
      this->p = random_problem<T>({.queries = 5, .keys = m, .features = d, .values = 3}, seed(412));
      this->expect_none();
    }
}

TYPED_TEST(BackwardExceptions, NoneInVariants) {
  using T = TypeParam;
  auto random = seed(413);
  const auto& in = this->p;
  const row_major<T> W = random_matrix<row_major<T>>(7, 4, random);
  const row_vector<T> v = random_matrix<row_vector<T>>(1, 4, random);
  const row_major<T> dO = random_matrix<row_major<T>>(53, 5, random);
  const row_major<T> dlog = random_matrix<row_major<T>>(53, 1, random);
  const row_vector<T> start = monotonic_start<T>(67);
  for (const masks::padding& mask : {masks::padding{.length = 67}, masks::padding{.length = 0}}) {
    const no_exceptions trapped(forbidden);
    (void)local_attention_backward(in.Q, in.K, in.V, alignments::predictive<T>(W, v, 3), dO, mask);
    const auto made = hard_attention(in.Q, in.K, in.V, selections::sample{.seed = 3}, mask);
    (void)hard_attention_backward(in.Q, in.K, in.V, made.choice, dO, dlog, mask);
    (void)weight_entropies_backward(in.Q, in.K, dlog, mask);
    (void)monotonic_attention_backward(in.Q, in.K, in.V, {}, start, dO, mask);
    (void)entmax_attention_backward(in.Q, in.K, in.V, dO, 1.5, mask);
  }
}

}  // namespace
}  // namespace softlook
