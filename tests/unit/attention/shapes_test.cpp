// Edge sizes and awkward numbers, on every path and instruction set.
#include <gtest/gtest.h>

#include "tests/support/agreement.hpp"
#include "tests/support/random.hpp"

namespace softlook::shapes_test {
namespace {

using namespace softlook_test;

template <class T>
class AttentionShapes : public ::testing::Test {
 protected:
  static void expect_agreement(const problem_sizes& sizes) {
    SCOPED_TRACE(::testing::Message() << "n " << sizes.queries << " m " << sizes.keys << " d "
                                      << sizes.features << " e " << sizes.values);
    const auto p = random_problem<T>(sizes, seed(51));
    expect_every_way_agrees(p.Q, p.K, p.V, std::nullopt);
  }
};
TYPED_TEST_SUITE(AttentionShapes, scalars, scalar_names);

TYPED_TEST(AttentionShapes, OneQuery) {
  for (const index m : {1, 2, 7, 8, 9, 31, 97, 256, 1000})
    this->expect_agreement({.queries = 1, .keys = m, .features = 8, .values = 8});
}

TYPED_TEST(AttentionShapes, OneKeyReturnsItsValue) {
  const auto p =
      random_problem<TypeParam>({.queries = 5, .keys = 1, .features = 6, .values = 7}, seed(52));
  for (const way& which : every_way()) {
    const auto output = attention(p.Q, p.K, p.V, which.opts);
    for (index i = 0; i < 5; ++i)
      EXPECT_TRUE(bitwise_equal(output.row(i), p.V.row(0))) << which.name;
  }
}

TYPED_TEST(AttentionShapes, OneFeature) {
  for (const index n : {1, 5, 50})
    this->expect_agreement({.queries = n, .keys = 33, .features = 1, .values = 5});
}

TYPED_TEST(AttentionShapes, OneValue) {
  for (const index n : {1, 5, 50})
    this->expect_agreement({.queries = n, .keys = 33, .features = 5, .values = 1});
}

TYPED_TEST(AttentionShapes, AroundWholeRegistersOfQueries) {
  // Vectors hold 2 … 16 scalars and register tiles 1 … 6 of them, so these straddle all multiples.
  for (const index n : {2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 33, 47, 48, 49, 95, 97})
    this->expect_agreement({.queries = n, .keys = 19, .features = 5, .values = 6});
}

TYPED_TEST(AttentionShapes, AroundWholeTilesOfKeys) {
  for (const index m : {2, 3, 4, 5, 7, 8, 9, 15, 17, 31, 33, 63, 64, 65, 95, 96, 97, 191, 193, 389})
    this->expect_agreement({.queries = 13, .keys = m, .features = 7, .values = 4});
}

TYPED_TEST(AttentionShapes, PrimeFeaturesAndValues) {
  for (const index d : {2, 3, 5, 7, 11, 13, 31, 67, 127})
    this->expect_agreement({.queries = 11, .keys = 29, .features = d, .values = 130 - d});
}

TYPED_TEST(AttentionShapes, MoreQueriesThanKeysAndFewer) {
  this->expect_agreement({.queries = 211, .keys = 3, .features = 16, .values = 24});
  this->expect_agreement({.queries = 3, .keys = 211, .features = 16, .values = 24});
}

TYPED_TEST(AttentionShapes, SeveralDefaultTiles) {
  this->expect_agreement({.queries = 401, .keys = 523, .features = 32, .values = 32});
}

TYPED_TEST(AttentionShapes, WideHeads) {
  this->expect_agreement({.queries = 5, .keys = 130, .features = 256, .values = 300});
  this->expect_agreement({.queries = 60, .keys = 70, .features = 1024, .values = 1024});
}

TYPED_TEST(AttentionShapes, NoQueriesGiveNoRows) {
  const auto p =
      random_problem<TypeParam>({.queries = 0, .keys = 5, .features = 3, .values = 4}, seed(53));
  for (const way& which : every_way()) {
    const auto state = attention_with_log_sum_exp(p.Q, p.K, p.V, which.opts);
    EXPECT_EQ(state.output.rows(), 0) << which.name;
    EXPECT_EQ(state.output.cols(), 4) << which.name;
    EXPECT_EQ(state.log_sum_exp.size(), 0) << which.name;
  }
}

TYPED_TEST(AttentionShapes, NoKeysGiveZeroRows) {
  const auto p =
      random_problem<TypeParam>({.queries = 6, .keys = 0, .features = 3, .values = 4}, seed(54));
  for (const way& which : every_way()) {
    const auto state = attention_with_log_sum_exp(p.Q, p.K, p.V, which.opts);
    EXPECT_TRUE(bitwise_equal(state.output, row_major<TypeParam>::Zero(6, 4))) << which.name;
    for (index i = 0; i < 6; ++i)
      EXPECT_EQ(state.log_sum_exp(i), -std::numeric_limits<TypeParam>::infinity()) << which.name;
  }
}

TYPED_TEST(AttentionShapes, NoFeaturesGiveTheMeanOfTheValues) {
  for (const index n : {1, 40})
    this->expect_agreement({.queries = n, .keys = 9, .features = 0, .values = 4});
}

TYPED_TEST(AttentionShapes, NoValuesGiveNoColumns) {
  const auto p =
      random_problem<TypeParam>({.queries = 6, .keys = 5, .features = 3, .values = 0}, seed(55));
  const auto naive = attention_with_log_sum_exp(p.Q, p.K, p.V, with_kernel(kernel::naive));
  for (const way& which : every_way()) {
    const auto state = attention_with_log_sum_exp(p.Q, p.K, p.V, which.opts);
    EXPECT_EQ(state.output.rows(), 6) << which.name;
    EXPECT_EQ(state.output.cols(), 0) << which.name;
    EXPECT_LE(max_error(state.log_sum_exp, naive.log_sum_exp), log_sum_exp_rounding<TypeParam>(9))
        << which.name;
  }
}

TYPED_TEST(AttentionShapes, NothingAtAll) {
  const row_major<TypeParam> empty(0, 0);
  for (const way& which : every_way())
    EXPECT_EQ(attention(empty, empty, empty, which.opts).size(), 0);
}

}  // namespace
}  // namespace softlook::shapes_test
