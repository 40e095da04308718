// NaN and infinity in live inputs: they reach exactly the rows that use them, as in the formula.
#include <gtest/gtest.h>

#include "tests/support/agreement.hpp"
#include "tests/support/random.hpp"

namespace softlook::non_finite_test {
namespace {

using namespace softlook_test;

template <class T>
class NonFinite : public ::testing::Test {
 protected:
  static constexpr index n = 53, m = 71, d = 6, e = 5;
  static constexpr T nan = std::numeric_limits<T>::quiet_NaN();
  static constexpr T infinity = std::numeric_limits<T>::infinity();
  const problem_inputs<T> clean =
      random_problem<T>({.queries = n, .keys = m, .features = d, .values = e}, seed(81));
  problem_inputs<T> dirty = clean;

  template <class... Policies>
  void expect_nan_rows(const auto& is_nan, const Policies&... policies) const {
    for (const way& which : every_way()) {
      SCOPED_TRACE(which.name);
      const auto is =
          attention_with_log_sum_exp(dirty.Q, dirty.K, dirty.V, policies..., which.opts);
      const auto should_be =
          attention_with_log_sum_exp(clean.Q, clean.K, clean.V, policies..., which.opts);
      for (index i = 0; i < n; ++i) {
        if (is_nan(i)) {
          EXPECT_TRUE(row_is_nan(is.output, i)) << "row " << i;
          EXPECT_TRUE(std::isnan(is.log_sum_exp(i))) << "row " << i;
        } else {
          EXPECT_TRUE(bitwise_equal(is.output.row(i), should_be.output.row(i))) << "row " << i;
          EXPECT_TRUE(same_bits(is.log_sum_exp(i), should_be.log_sum_exp(i))) << "row " << i;
        }
      }
    }
  }
};
TYPED_TEST_SUITE(NonFinite, scalars, scalar_names);

TYPED_TEST(NonFinite, NanInAQueryReachesItsRowOnly) {
  for (const index row : {0, 17, 52}) {
    this->dirty = this->clean;
    this->dirty.Q(row, 2) = this->nan;
    this->expect_nan_rows([=](index i) { return i == row; });
  }
}

TYPED_TEST(NonFinite, NanInAKeyReachesEveryRowThatSeesIt) {
  for (const index key : {0, 31, 70}) {
    this->dirty = this->clean;
    this->dirty.K(key, 1) = this->nan;
    this->expect_nan_rows([](index) { return true; });
    this->expect_nan_rows([=](index i) { return i >= key; }, masks::causal_top_left{});
    this->expect_nan_rows([key](index i) { return i + TestFixture::m - TestFixture::n >= key; },
                          masks::causal_bottom_right{});
  }
}

TYPED_TEST(NonFinite, NanInAKeySurvivesSoftCapAndMinusInfinityBeside) {
  using T = TypeParam;
  this->dirty.K(31, 1) = this->nan;
  this->expect_nan_rows([](index) { return true; }, transforms::soft_cap{3.0});
  row_major<T> B = row_major<T>::Constant(1, this->m, -this->infinity);
  B(0, 31) = 0;
  B(0, 40) = 0;
  this->expect_nan_rows([](index) { return true; }, transforms::bias{B});
}

TYPED_TEST(NonFinite, NanInAValueReachesItsColumnOfEveryRowThatSeesIt) {
  const double tolerance = rounding_of<TypeParam>(10, 4);
  for (const TypeParam poison : {this->nan, this->infinity, -this->infinity}) {
    for (const index key : {0, 31, 70}) {
      this->dirty = this->clean;
      this->dirty.V(key, 3) = poison;
      for (const way& which : every_way()) {
        SCOPED_TRACE(which.name);
        const masks::causal_bottom_right mask;
        const auto is = attention(this->dirty.Q, this->dirty.K, this->dirty.V, mask, which.opts);
        const auto should_be =
            attention(this->clean.Q, this->clean.K, this->clean.V, mask, which.opts);
        for (index i = 0; i < this->n; ++i) {
          if (key > i + this->m - this->n) {
            EXPECT_TRUE(bitwise_equal(is.row(i), should_be.row(i))) << "row " << i;
            continue;
          }
          EXPECT_TRUE(same_bits(is(i, 3), poison)) << "row " << i << " is " << is(i, 3);
          EXPECT_LE(max_error(is.row(i).head(3), should_be.row(i).head(3)), tolerance);
          EXPECT_LE(max_error(is.row(i).tail(1), should_be.row(i).tail(1)), tolerance);
        }
      }
    }
  }
}

// exp(∞ − ∞) is NaN in the naive formula, and so is the row.
TYPED_TEST(NonFinite, ScoresOfPlusInfinityFollowTheNaiveFormula) {
  using T = TypeParam;
  row_major<T> B = row_major<T>::Zero(this->n, this->m);
  B(4, 9) = this->infinity;
  B(20, 70) = this->infinity;
  B(20, 0) = this->infinity;
  const auto naive =
      naive_attention(this->clean.Q, this->clean.K, this->clean.V, transforms::bias{B});
  EXPECT_TRUE(row_is_nan(naive.output, 4));
  EXPECT_TRUE(row_is_nan(naive.output, 20));
  const auto plain = attention(this->clean.Q, this->clean.K, this->clean.V);
  for (const way& which : every_way()) {
    SCOPED_TRACE(which.name);
    const auto state = attention_with_log_sum_exp(this->clean.Q, this->clean.K, this->clean.V,
                                                  transforms::bias{B}, which.opts);
    for (index i = 0; i < this->n; ++i) {
      EXPECT_EQ(row_is_nan(state.output, i), i == 4 || i == 20) << "row " << i;
      EXPECT_TRUE(std::isnan(state.log_sum_exp(i)) == std::isnan(naive.log_sum_exp(i)))
          << "row " << i;
    }
  }
  ASSERT_TRUE(all_finite(plain));
}

TYPED_TEST(NonFinite, OverflowingScoresFollowTheNaiveFormula) {
  using T = TypeParam;
  // q·k overflows to ±∞ in T for row 3; a row of −∞ alone would be empty, +∞ makes it NaN.
  this->dirty.Q.row(3).setConstant(std::numeric_limits<T>::max());
  this->dirty.K.setConstant(T(4));
  for (const way& which : every_way()) {
    const auto output = attention(this->dirty.Q, this->dirty.K, this->dirty.V, which.opts);
    EXPECT_TRUE(row_is_nan(output, 3)) << which.name;
    EXPECT_TRUE(all_finite(output.topRows(3))) << which.name;
    EXPECT_TRUE(all_finite(output.bottomRows(this->n - 4))) << which.name;
  }
}

TYPED_TEST(NonFinite, AnInfiniteSlotWithMinusInfinityScoreIsDropped) {
  // One feature: key 5 scores −∞ for every query, the others stay finite.
  using T = TypeParam;
  row_major<T> Q = row_major<T>::Ones(9, 1), K = row_major<T>::Ones(12, 1);
  K(5, 0) = -this->infinity;
  const row_major<T> V = this->clean.V.topRows(12);
  expect_every_way_agrees(Q, K, V, std::nullopt);
}

TYPED_TEST(NonFinite, InOneOfSeveralChunksOfKeys) {
  using T = TypeParam;
  const auto live =
      random_problem<T>({.queries = 3, .keys = 1700, .features = 6, .values = 5}, seed(84));
  for (const index key : {3, 600, 1699}) {
    auto poisoned = live;
    poisoned.K(key, 0) = this->nan;
    row_major<T> B = row_major<T>::Zero(1, 1700);
    B(0, key) = this->infinity;
    for (const way& which : every_way()) {
      SCOPED_TRACE(which.name);
      const auto by_key =
          attention_with_log_sum_exp(poisoned.Q, poisoned.K, poisoned.V, which.opts);
      const auto by_score =
          attention_with_log_sum_exp(live.Q, live.K, live.V, transforms::bias{B}, which.opts);
      for (index i = 0; i < 3; ++i) {
        EXPECT_TRUE(row_is_nan(by_key.output, i));
        EXPECT_TRUE(std::isnan(by_key.log_sum_exp(i)));
        EXPECT_TRUE(row_is_nan(by_score.output, i));
      }
    }
  }
}

TYPED_TEST(NonFinite, NanInAdditiveInputsReachesExactlyTheirRows) {
  auto random = seed(82);
  const auto v = random_matrix<column<TypeParam>>(this->d, 1, random);
  const scores::additive_projected score{v};
  this->dirty.Q(17, 2) = this->nan;
  this->expect_nan_rows([](index i) { return i == 17; }, score);
  this->dirty = this->clean;
  this->dirty.K(31, 1) = this->nan;
  this->expect_nan_rows([](index i) { return i >= 31; }, score, masks::causal_top_left{});
}

TYPED_TEST(NonFinite, InfiniteAdditiveInputsSaturate) {
  // tanh(±∞ + finite) = ±1.
  auto random = seed(83);
  const auto v = random_matrix<column<TypeParam>>(this->d, 1, random);
  this->dirty.Q(17, 2) = this->infinity;
  this->dirty.K(31, 1) = -this->infinity;
  expect_every_way_agrees(this->dirty.Q, this->dirty.K, this->dirty.V, std::nullopt,
                          scores::additive_projected{v});
}

}  // namespace
}  // namespace softlook::non_finite_test
