// A query without a live key: zero output, zero weights, log-sum-exp −∞, whatever emptied it.
#include <gtest/gtest.h>

#include "tests/support/agreement.hpp"
#include "tests/support/random.hpp"

namespace softlook::empty_rows_test {
namespace {

using namespace softlook_test;

template <class T>
class EmptyRows : public ::testing::Test {
 protected:
  static constexpr index n = 37, m = 29, e = 5;
  static constexpr T infinity = std::numeric_limits<T>::infinity();
  problem_inputs<T> p =
      random_problem<T>({.queries = n, .keys = m, .features = 6, .values = e}, seed(61));

  /// Rows for which `empty` holds are empty and all others are not, on every path.
  template <class Empty, class... Policies>
  void expect_empty(const Empty& empty, const Policies&... policies) const {
    const auto naive = naive_attention(p.Q, p.K, p.V, policies...);
    const auto weights = attention_weights(p.Q, p.K, policies...);
    for (index i = 0; i < n; ++i) {
      EXPECT_EQ(row_is_zero(naive.weights, i), empty(i)) << i;
      EXPECT_EQ(row_is_zero(weights, i), empty(i)) << i;
      EXPECT_EQ(naive.log_sum_exp(i) == -infinity, empty(i)) << i;
    }
    for (const way& which : every_way()) {
      const auto state = attention_with_log_sum_exp(p.Q, p.K, p.V, policies..., which.opts);
      for (index i = 0; i < n; ++i) {
        EXPECT_EQ(row_is_zero(state.output, i), empty(i)) << which.name << " row " << i;
        EXPECT_EQ(state.log_sum_exp(i) == -infinity, empty(i)) << which.name << " row " << i;
      }
    }
  }
};
TYPED_TEST_SUITE(EmptyRows, scalars, scalar_names);

TYPED_TEST(EmptyRows, ByANegativeCausalOffset) {
  for (const index offset : {-1, -5, -36, -37, -100})
    this->expect_empty([=](index i) { return i + offset < 0; }, masks::causal{.offset = offset});
}

TYPED_TEST(EmptyRows, ByMoreQueriesThanKeysUnderCausalBottomRight) {
  this->expect_empty([&](index i) { return i + this->m - this->n < 0; },
                     masks::causal_bottom_right{});
}

TYPED_TEST(EmptyRows, ByPaddingWithoutLength) {
  this->expect_empty([](index) { return true; }, masks::padding{.length = 0});
}

TYPED_TEST(EmptyRows, ByAWindowBesideTheKeys) {
  this->expect_empty([&](index i) { return i - 2 >= this->m; },
                     masks::window{.left = 2, .right = 0});
}

TYPED_TEST(EmptyRows, ByADenseMask) {
  row_major<bool> attend = row_major<bool>::Constant(this->n, this->m, true);
  for (index i = 0; i < this->n; i += 3) attend.row(i).setConstant(false);
  this->expect_empty([](index i) { return i % 3 == 0; }, masks::dense{attend});
}

TYPED_TEST(EmptyRows, ByAPredicate) {
  this->expect_empty([](index i) { return i % 4 == 1; },
                     masks::where([](std::int32_t i, std::int32_t) { return i % 4 != 1; }));
}

TYPED_TEST(EmptyRows, ByTheComplementOfEverything) {
  this->expect_empty([](index) { return true; }, !masks::none{});
}

TYPED_TEST(EmptyRows, ByABiasOfMinusInfinity) {
  row_major<TypeParam> B = row_major<TypeParam>::Zero(this->n, this->m);
  for (index i = 0; i < this->n; i += 5) B.row(i).setConstant(-this->infinity);
  this->expect_empty([](index i) { return i % 5 == 0; }, transforms::bias{B});
}

TYPED_TEST(EmptyRows, ByAFunctorThatReturnsMinusInfinity) {
  this->expect_empty([](index i) { return i == 7; },
                     transforms::map([](auto s, std::int32_t i, std::int32_t) {
                       using S = decltype(s);
                       return i == 7 ? -std::numeric_limits<S>::infinity() : s;
                     }));
}

TYPED_TEST(EmptyRows, ByScoresOfMinusInfinity) {
  // One feature, so that no sum mixes infinities: s = q·k = −∞ for every key.
  this->p.Q.resize(this->n, 1);
  this->p.Q.setOnes();
  this->p.Q(4, 0) = -this->infinity;
  this->p.K.resize(this->m, 1);
  this->p.K.setConstant(TypeParam(2));
  this->expect_empty([](index i) { return i == 4; });
}

TYPED_TEST(EmptyRows, ByAMaskTogetherWithABias) {
  row_major<TypeParam> B = row_major<TypeParam>::Zero(1, this->m);
  B.leftCols(10).setConstant(-this->infinity);
  this->expect_empty([](index i) { return i < 10; }, masks::causal_top_left{}, transforms::bias{B});
}

TYPED_TEST(EmptyRows, KeepTheOtherRowsRight) {
  expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt,
                          masks::causal{.offset = -9});
}

}  // namespace
}  // namespace softlook::empty_rows_test
