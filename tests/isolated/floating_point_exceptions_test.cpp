// Finite input raises neither FE_INVALID nor FE_DIVBYZERO, padded lanes and empty rows included.
// A program of its own, because the exceptions are trapped: the first one ends it.
#include <gtest/gtest.h>

#include <cfenv>

#include "softlook/additive.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "softlook/multi_head.hpp"
#include "softlook/multiplicative.hpp"
#include "tests/support/random.hpp"
#include "tests/support/ways.hpp"

namespace softlook {
namespace {

using namespace softlook_test;

constexpr int forbidden = FE_INVALID | FE_DIVBYZERO;

/// Traps where the platform can, and looks at the flags anyway.
class no_exceptions {
 public:
  no_exceptions() {
    std::feclearexcept(FE_ALL_EXCEPT);
#if defined(__GLIBC__)
    feenableexcept(forbidden);
#endif
  }
  ~no_exceptions() {
#if defined(__GLIBC__)
    fedisableexcept(forbidden);
#endif
    EXPECT_EQ(std::fetestexcept(forbidden), 0);
  }
  no_exceptions(const no_exceptions&) = delete;
  no_exceptions& operator=(const no_exceptions&) = delete;
};

template <class T>
class FloatingPointExceptions : public ::testing::Test {
 protected:
  problem_inputs<T> p =
      random_problem<T>({.queries = 53, .keys = 67, .features = 7, .values = 5}, seed(401));

  template <class... Policies>
  void expect_none(const Policies&... policies) const {
    for (const index queries : {index{1}, index{3}, p.Q.rows()}) {
      const row_major<T> Q = p.Q.topRows(queries);
      for (const way& which : every_way()) {
        SCOPED_TRACE(which.name);
        row_major<T> output;
        {
          const no_exceptions trapped;
          output = attention_with_log_sum_exp(Q, p.K, p.V, policies..., which.opts).output;
        }
        EXPECT_EQ(output.rows(), queries);
      }
    }
  }
};
TYPED_TEST_SUITE(FloatingPointExceptions, scalars, scalar_names);

TYPED_TEST(FloatingPointExceptions, NoneWithoutAMask) { this->expect_none(); }

TYPED_TEST(FloatingPointExceptions, NoneOnAThreadPool) {
  const exec::thread_pool pool(3);
  this->expect_none(pool);
}

TYPED_TEST(FloatingPointExceptions, NoneUnderMasks) {
  this->expect_none(masks::causal_top_left{});
  this->expect_none(masks::causal_bottom_right{});
  this->expect_none(masks::window{.left = 3, .right = 1});
  this->expect_none(masks::padding{.length = 30});
}

TYPED_TEST(FloatingPointExceptions, NoneForEmptyRows) {
  this->expect_none(masks::causal{.offset = -20});
  this->expect_none(masks::padding{.length = 0});
  this->expect_none(masks::where([](std::int32_t i, std::int32_t) { return i % 2 == 0; }));
}

TYPED_TEST(FloatingPointExceptions, NoneForABiasOfMinusInfinity) {
  using T = TypeParam;
  row_major<T> B = row_major<T>::Zero(1, 67);
  B.leftCols(40).setConstant(-std::numeric_limits<T>::infinity());
  this->expect_none(transforms::bias{B});
  B.setConstant(-std::numeric_limits<T>::infinity());
  this->expect_none(transforms::bias{B});
}

TYPED_TEST(FloatingPointExceptions, NoneUnderTransforms) {
  this->expect_none(transforms::soft_cap{2.0});
  this->expect_none(transforms::alibi{0.5}, masks::causal_bottom_right{});
}

TYPED_TEST(FloatingPointExceptions, NoneForScoresOfAnySize) {
  const auto K = this->p.K;
  for (const double size : {0.0, 1e-30, 1e-4, 10.0, 1e4, 1e15}) {
    this->p.K = K * static_cast<TypeParam>(size);
    this->expect_none();
  }
}

TYPED_TEST(FloatingPointExceptions, NoneForSubnormalNumbers) {
  this->p.Q *= std::numeric_limits<TypeParam>::denorm_min() * 50;
  this->p.V *= std::numeric_limits<TypeParam>::denorm_min() * 50;
  this->expect_none();
}

TYPED_TEST(FloatingPointExceptions, NoneForCosineOfZeroVectors) {
  this->p.Q.row(0).setZero();
  this->p.K.topRows(3).setZero();
  this->expect_none(scores::cosine{});
}

TYPED_TEST(FloatingPointExceptions, NoneForAdditiveScoresOfAnySize) {
  using T = TypeParam;
  auto random = seed(402);
  const auto v = random_matrix<column<T>>(7, 1, random);
  const auto clean = this->p;
  for (const double size : {0.0, 1e-30, 1e-4, 1.0, 20.0, 44.0, 89.0, 1e4, 1e30}) {
    this->p.Q = clean.Q * static_cast<T>(size);
    this->p.K = clean.K * static_cast<T>(size);
    this->expect_none(scores::additive_projected{v});
    this->p.K = -this->p.K;
    this->expect_none(scores::additive_projected{v}, masks::causal{.offset = -20});
  }
}

TYPED_TEST(FloatingPointExceptions, NoneForProjections) {
  using T = TypeParam;
  auto random = seed(403);
  const auto W = random_matrix<row_major<T>>(7, 7, random);
  const auto v = random_matrix<column<T>>(7, 1, random);
  this->expect_none(scores::general{W});
  this->expect_none(scores::additive{W, W, v});
}

TYPED_TEST(FloatingPointExceptions, NoneForEdgeSizes) {
  using T = TypeParam;
  for (const index m : {0, 1, 2}) {
    for (const index d : {0, 1}) {
      this->p = random_problem<T>({.queries = 5, .keys = m, .features = d, .values = 3}, seed(404));
      this->expect_none();
    }
  }
}

TYPED_TEST(FloatingPointExceptions, NoneInMergesWithEmptyStates) {
  using matrix = row_major<TypeParam>;
  const auto state = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V);
  const auto empty = empty_state<matrix>(53, 5);
  const no_exceptions trapped;
  (void)merge(state, empty);
  (void)merge(empty, state);
  (void)merge(empty, empty);
  (void)merge(state, state);
}

TYPED_TEST(FloatingPointExceptions, NoneInDecoderSteps) {
  using T = TypeParam;
  auto random = seed(405);
  const auto W = random_matrix<row_major<T>>(7, 7, random);
  const auto v = random_matrix<column<T>>(7, 1, random);
  bahdanau_attention<T> bahdanau(W, W, v);
  auto luong = luong_attention<T>::general(W);
  const no_exceptions trapped;
  for (const index length : {0, 1, 40}) {
    bahdanau.set_memory(this->p.K, this->p.V, length);
    luong.set_memory(this->p.K, this->p.V, length);
    (void)bahdanau.step(this->p.Q.row(2));
    (void)luong.step(this->p.Q.row(2));
  }
}

}  // namespace
}  // namespace softlook
