// A masked key or value never influences the output, NaN and infinity in it included: the result is
// that of the same call on clean data, bit for bit.
#include <gtest/gtest.h>

#include "softlook/mask/block_sparse.hpp"
#include "tests/support/agreement.hpp"
#include "tests/support/random.hpp"

namespace softlook::masked_values_test {
namespace {

using namespace softlook_test;

template <class T>
class MaskedValues : public ::testing::Test {
 protected:
  static constexpr T nan = std::numeric_limits<T>::quiet_NaN();
  static constexpr T infinity = std::numeric_limits<T>::infinity();

  /// Poisons the keys and values in [from, m) with `poison`; no row in [0, rows) may notice.
  template <class... Policies>
  static void expect_unnoticed(index n, index m, index from, index rows,
                               const Policies&... policies) {
    expect_unnoticed_by(
        random_problem<T>({.queries = n, .keys = m, .features = 6, .values = 5}, seed(71)), from,
        rows, policies...);
  }
  template <class... Policies>
  static void expect_unnoticed_by(const problem_inputs<T>& clean, index from, index rows,
                                  const Policies&... policies) {
    const index m = clean.K.rows();
    for (const T poison : {nan, infinity, -infinity, std::numeric_limits<T>::max()}) {
      auto dirty = clean;
      dirty.K.bottomRows(m - from).setConstant(poison);
      dirty.V.bottomRows(m - from).setConstant(poison);
      for (const way& which : every_way()) {
        const auto is =
            attention_with_log_sum_exp(dirty.Q, dirty.K, dirty.V, policies..., which.opts);
        const auto should_be =
            attention_with_log_sum_exp(clean.Q, clean.K, clean.V, policies..., which.opts);
        ASSERT_TRUE(all_finite(should_be.output)) << which.name;
        EXPECT_TRUE(bitwise_equal(is.output.topRows(rows), should_be.output.topRows(rows)))
            << which.name << " poison " << poison;
        EXPECT_TRUE(bitwise_equal(is.log_sum_exp.head(rows), should_be.log_sum_exp.head(rows)))
            << which.name << " poison " << poison;
      }
    }
  }
};
TYPED_TEST_SUITE(MaskedValues, scalars, scalar_names);

TYPED_TEST(MaskedValues, InPadding) {
  for (const index length : {0, 1, 7, 8, 20, 40})
    this->expect_unnoticed(30, 41, length, 30, masks::padding{.length = length});
}

TYPED_TEST(MaskedValues, InPaddingOfFewQueries) {
  for (const index n : {1, 2, 3}) {
    this->expect_unnoticed(n, 300, 211, n, masks::padding{.length = 211});
    // Several chunks of keys, some of them without a live one.
    this->expect_unnoticed(n, 1700, 211, n, masks::padding{.length = 211});
    this->expect_unnoticed(n, 1700, 1100, n, masks::padding{.length = 1100});
  }
}

TYPED_TEST(MaskedValues, InPaddingOfWholeVectors) {
  for (const index n : {1, 60})
    this->expect_unnoticed_by(
        random_problem<TypeParam>({.queries = n, .keys = 90, .features = 32, .values = 144},
                                  seed(76)),
        50, n, masks::padding{.length = 50});
}

// A value that is not finite is looked for in every column: vectors two at a time, one at a time,
// and columns that fill none.
TYPED_TEST(MaskedValues, InAnyOneColumn) {
  using T = TypeParam;
  const masks::where all_but_one([](std::int32_t, std::int32_t j) { return j != 4; });
  for (const index n : {1, 30}) {
    const auto clean =
        random_problem<T>({.queries = n, .keys = 9, .features = 3, .values = 53}, seed(77));
    for (index c = 0; c < clean.V.cols(); ++c) {
      auto dirty = clean;
      dirty.V(4, c) = c % 2 == 0 ? this->nan : this->infinity;
      for (const way& which : every_way()) {
        const auto is = attention(dirty.Q, dirty.K, dirty.V, all_but_one, which.opts);
        const auto should_be = attention(clean.Q, clean.K, clean.V, all_but_one, which.opts);
        ASSERT_TRUE(bitwise_equal(is, should_be)) << which.name << " column " << c;
      }
    }
  }
}

// Rows 0 … 24 share their tiles with rows that do see the poisoned keys.
TYPED_TEST(MaskedValues, InTheFutureOfACausalRow) {
  for (const index from : {1, 3, 25, 60, 63})
    this->expect_unnoticed(64, 64, from, from, masks::causal_top_left{});
}

TYPED_TEST(MaskedValues, InTheFutureUnderCausalBottomRight) {
  this->expect_unnoticed(40, 60, 33, 13, masks::causal_bottom_right{});
}

TYPED_TEST(MaskedValues, OutsideAWindow) {
  this->expect_unnoticed(50, 50, 30, 28, masks::window{.left = 3, .right = 2});
}

// Rows 0 … 31 see blocks 0 and 2 of the keys; rows 32 … 47, in the same register tile, see all.
TYPED_TEST(MaskedValues, BehindAGapOfKeysThatOtherRowsSee) {
  row_major<bool> layout = row_major<bool>::Constant(6, 6, true);
  layout.topRows(2).setConstant(false);
  layout.block(0, 0, 2, 1).setConstant(true);
  layout.block(0, 2, 2, 1).setConstant(true);
  this->expect_unnoticed(96, 96, 64, 32, masks::block_sparse{layout, 16});
}

TYPED_TEST(MaskedValues, UnderADenseMask) {
  row_major<bool> attend = row_major<bool>::Constant(33, 41, true);
  attend.rightCols(9).setConstant(false);
  this->expect_unnoticed(33, 41, 32, 33, masks::dense{attend});
}

TYPED_TEST(MaskedValues, UnderAPredicate) {
  this->expect_unnoticed(33, 41, 20, 33,
                         masks::where([](std::int32_t, std::int32_t j) { return j < 20; }));
}

TYPED_TEST(MaskedValues, UnderTransforms) {
  this->expect_unnoticed(33, 41, 20, 33, masks::padding{.length = 20}, transforms::soft_cap{5.0},
                         transforms::alibi{0.1});
}

TYPED_TEST(MaskedValues, UnderAdditiveScores) {
  auto random = seed(72);
  const auto v = random_matrix<column<TypeParam>>(6, 1, random);
  const scores::additive_projected score{v};
  this->expect_unnoticed(33, 41, 20, 33, masks::padding{.length = 20}, score);
  this->expect_unnoticed(33, 33, 20, 20, masks::causal_top_left{}, score);
  this->expect_unnoticed(1, 41, 20, 1, masks::padding{.length = 20}, score);
}

TYPED_TEST(MaskedValues, UnderProjectedScores) {
  auto random = seed(73);
  const auto W = random_matrix<row_major<TypeParam>>(6, 6, random);
  const auto v = random_matrix<column<TypeParam>>(6, 1, random);
  this->expect_unnoticed(33, 41, 20, 33, masks::padding{.length = 20}, scores::general{W});
  this->expect_unnoticed(33, 41, 20, 33, masks::padding{.length = 20}, scores::cosine{});
  this->expect_unnoticed(33, 41, 20, 33, masks::padding{.length = 20}, scores::additive{W, W, v});
}

// Scattered poison: each row may see only the keys of its own class, and rows of both classes share
// every register tile.
TYPED_TEST(MaskedValues, InterleavedWithLiveOnes) {
  using T = TypeParam;
  const auto clean =
      random_problem<T>({.queries = 40, .keys = 90, .features = 6, .values = 5}, seed(74));
  auto dirty = clean;
  for (index j = 1; j < 90; j += 2) {
    dirty.K.row(j).setConstant(this->nan);
    dirty.V.row(j).setConstant(this->infinity);
  }
  const masks::where same_class([](std::int32_t i, std::int32_t j) { return (i + j) % 2 == 0; });
  for (const way& which : every_way()) {
    const auto is = attention(dirty.Q, dirty.K, dirty.V, same_class, which.opts);
    const auto should_be = attention(clean.Q, clean.K, clean.V, same_class, which.opts);
    for (index i = 0; i < 40; ++i) {
      if (i % 2 == 0)
        EXPECT_TRUE(bitwise_equal(is.row(i), should_be.row(i))) << which.name << " row " << i;
      else
        EXPECT_TRUE(row_is_nan(is, i)) << which.name << " row " << i;
    }
  }
}

TYPED_TEST(MaskedValues, InNaiveWeights) {
  using T = TypeParam;
  const auto clean =
      random_problem<T>({.queries = 9, .keys = 14, .features = 3, .values = 2}, seed(75));
  auto dirty = clean;
  dirty.K.bottomRows(5).setConstant(this->nan);
  dirty.V.bottomRows(5).setConstant(this->nan);
  const masks::padding mask{.length = 9};
  EXPECT_TRUE(bitwise_equal(attention_weights(dirty.Q, dirty.K, mask),
                            attention_weights(clean.Q, clean.K, mask)));
  const auto is = naive_attention(dirty.Q, dirty.K, dirty.V, mask);
  const auto should_be = naive_attention(clean.Q, clean.K, clean.V, mask);
  EXPECT_TRUE(bitwise_equal(is.weights, should_be.weights));
  EXPECT_TRUE(bitwise_equal(is.output, should_be.output));
}

}  // namespace
}  // namespace softlook::masked_values_test
