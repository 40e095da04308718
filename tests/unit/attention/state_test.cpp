#include "softlook/attention/state.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::state_test {
namespace {

using namespace softlook_test;

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();

template <class T>
class AttentionState : public ::testing::Test {
 protected:
  using state = attention_state<row_major<T>>;
  static constexpr index n = 9, e = 4;
  generator random = seed(41);

  state random_state(double spread = 3) {
    state s{random_matrix<row_major<T>>(n, e, random), random_matrix<column<T>>(n, 1, random)};
    s.log_sum_exp *= static_cast<T>(spread);
    return s;
  }

  /// A merge is one rounded step per weight: exp, sum, division, products.
  static double bound(double log_sum_exp) { return rounding_of<T>(log_sum_exp, 4); }

  static void expect_near(const state& a, const state& b, double tolerance) {
    EXPECT_LE(max_error(a.output, b.output), tolerance);
    EXPECT_LE(max_error(a.log_sum_exp, b.log_sum_exp), tolerance);
  }
  static void expect_same(const state& a, const state& b) {
    EXPECT_TRUE(bitwise_equal(a.output, b.output));
    EXPECT_TRUE(bitwise_equal(a.log_sum_exp, b.log_sum_exp));
  }
};
TYPED_TEST_SUITE(AttentionState, scalars, scalar_names);

TYPED_TEST(AttentionState, MergeIsTheWeightedMean) {
  const auto a = this->random_state(), b = this->random_state();
  const auto merged = merge(a, b);
  for (index i = 0; i < this->n; ++i) {
    const auto la = static_cast<long double>(a.log_sum_exp(i));
    const auto lb = static_cast<long double>(b.log_sum_exp(i));
    const long double total = std::log(std::exp(la) + std::exp(lb));
    EXPECT_NEAR(merged.log_sum_exp(i), static_cast<double>(total), this->bound(10));
    for (index c = 0; c < this->e; ++c) {
      const long double truth = std::exp(la - total) * static_cast<long double>(a.output(i, c)) +
                                std::exp(lb - total) * static_cast<long double>(b.output(i, c));
      EXPECT_NEAR(merged.output(i, c), static_cast<double>(truth), this->bound(10));
    }
  }
}

TYPED_TEST(AttentionState, MergeIsCommutative) {
  const auto a = this->random_state(), b = this->random_state();
  this->expect_near(merge(a, b), merge(b, a), this->bound(0));
}

TYPED_TEST(AttentionState, MergeIsAssociative) {
  const auto a = this->random_state(), b = this->random_state(), c = this->random_state();
  this->expect_near(merge(merge(a, b), c), merge(a, merge(b, c)), this->bound(10));
}

TYPED_TEST(AttentionState, EmptyStateIsTheIdentity) {
  const auto a = this->random_state();
  const auto empty = empty_state<row_major<TypeParam>>(this->n, this->e);
  this->expect_same(merge(a, empty), a);
  this->expect_same(merge(empty, a), a);
}

TYPED_TEST(AttentionState, EmptyStateIsZeroWithALogSumExpOfMinusInfinity) {
  const auto empty = empty_state<row_major<TypeParam>>(3, 2);
  EXPECT_TRUE(bitwise_equal(empty.output, row_major<TypeParam>::Zero(3, 2)));
  for (index i = 0; i < 3; ++i) EXPECT_EQ(empty.log_sum_exp(i), -infinity<TypeParam>);
}

TYPED_TEST(AttentionState, MergingEmptyStatesStaysEmpty) {
  const auto empty = empty_state<row_major<TypeParam>>(this->n, this->e);
  this->expect_same(merge(empty, empty), empty);
}

TYPED_TEST(AttentionState, EmptyRowsAreTakenOneByOne) {
  auto a = this->random_state(), b = this->random_state();
  a.output.row(2).setZero();
  a.log_sum_exp(2) = -infinity<TypeParam>;
  b.output.row(5).setZero();
  b.log_sum_exp(5) = -infinity<TypeParam>;
  const auto merged = merge(a, b);
  EXPECT_TRUE(bitwise_equal(merged.output.row(2), b.output.row(2)));
  EXPECT_TRUE(bitwise_equal(merged.output.row(5), a.output.row(5)));
  EXPECT_EQ(merged.log_sum_exp(2), b.log_sum_exp(2));
  EXPECT_EQ(merged.log_sum_exp(5), a.log_sum_exp(5));
}

TYPED_TEST(AttentionState, HugeLogSumExpsNeitherOverflowNorVanish) {
  using T = TypeParam;
  for (const double size : {-1e30, -2000.0, -100.0, 100.0, 2000.0, 1e30}) {
    auto a = this->random_state(), b = this->random_state();
    a.log_sum_exp.setConstant(static_cast<T>(size));
    b.log_sum_exp.setConstant(static_cast<T>(size));
    const auto merged = merge(a, b);
    ASSERT_TRUE(all_finite(merged.output)) << size;
    ASSERT_TRUE(all_finite(merged.log_sum_exp)) << size;
    const row_major<T> mean = (a.output + b.output) / T(2);
    EXPECT_LE(max_error(merged.output, mean), this->bound(0)) << size;
    b.log_sum_exp.setConstant(static_cast<T>(-size));
    const auto one_sided = merge(a, b);
    this->expect_same(one_sided, size > 0 ? a : b);
  }
}

TYPED_TEST(AttentionState, NanStaysInItsRow) {
  auto a = this->random_state(), b = this->random_state();
  const auto clean = merge(a, b);
  a.output.row(3).setConstant(std::numeric_limits<TypeParam>::quiet_NaN());
  const auto merged = merge(a, b);
  for (index i = 0; i < this->n; ++i) {
    if (i == 3)
      EXPECT_TRUE(row_is_nan(merged.output, i));
    else
      EXPECT_TRUE(bitwise_equal(merged.output.row(i), clean.output.row(i)));
  }
}

TYPED_TEST(AttentionState, RejectsStatesOfOtherShapes) {
  using matrix = row_major<TypeParam>;
  expect_error<shape_error>(
      [] { (void)merge(empty_state<matrix>(3, 2), empty_state<matrix>(4, 2)); },
      {"merge", "3", "4"});
  expect_error<shape_error>(
      [] { (void)merge(empty_state<matrix>(3, 2), empty_state<matrix>(3, 5)); },
      {"merge", "2", "5"});
  auto broken = empty_state<matrix>(3, 2);
  broken.log_sum_exp.resize(7);
  expect_error<shape_error>([&] { (void)merge(broken, empty_state<matrix>(3, 2)); },
                            {"merge", "3", "7"});
}

TYPED_TEST(AttentionState, MergesStatesWithoutRowsOrValues) {
  using matrix = row_major<TypeParam>;
  EXPECT_EQ(merge(empty_state<matrix>(0, 3), empty_state<matrix>(0, 3)).output.rows(), 0);
  EXPECT_EQ(merge(empty_state<matrix>(3, 0), empty_state<matrix>(3, 0)).output.cols(), 0);
}

}  // namespace
}  // namespace softlook::state_test
