#include "softlook/seq2seq/luong_attention.hpp"

#include <gtest/gtest.h>

#include "softlook/attention.hpp"
#include "tests/support/agreement.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::luong_attention_test {
namespace {

using namespace softlook_test;

template <class T>
class LuongAttention : public ::testing::Test {
 protected:
  static constexpr index n = 6, m = 11, d = 5, dk = 4, a = 7, e = 3;
  generator random = seed(231);
  row_major<T> Q = random_matrix<row_major<T>>(n, d, random);
  row_major<T> K = random_matrix<row_major<T>>(m, d, random);
  row_major<T> narrow = random_matrix<row_major<T>>(m, dk, random);
  row_major<T> V = random_matrix<row_major<T>>(m, e, random);
  double tolerance = attention_bound<T>(m, 2 * d, 20, 4);

  /// The rows of the full attention, and what attention() gives of the same score.
  template <class Score>
  void expect_steps(const row_major<T>& keys, const Score& score) const {
    luong_attention<T> decoder(score);
    decoder.set_memory(keys, V);
    const auto truth = oracle::attention(Q, keys, V, score);
    const auto all = decoder.step(Q);
    EXPECT_LE(max_error(all.context, truth.output), tolerance);
    EXPECT_LE(max_error(all.weights, truth.weights), tolerance);
    EXPECT_LE(max_error(all.weights, attention_weights(Q, keys, score)), tolerance);
    EXPECT_LE(max_error(all.context, attention(Q, keys, V, score)), tolerance);
    for (index i = 0; i < n; ++i) {
      const auto step = decoder.step(Q.row(i));
      EXPECT_LE(max_error(step.context, truth.output.row(i)), tolerance);
      EXPECT_LE(max_error(step.weights, truth.weights.row(i)), tolerance);
    }
  }
};
TYPED_TEST_SUITE(LuongAttention, scalars, scalar_names);

TYPED_TEST(LuongAttention, DotStepsAreTheRowsOfTheFullAttention) {
  this->expect_steps(this->K, scores::dot{});
}

TYPED_TEST(LuongAttention, ScaledDotStepsAreTheRowsOfTheFullAttention) {
  this->expect_steps(this->K, scores::scaled_dot{});
}

TYPED_TEST(LuongAttention, GeneralStepsAreTheRowsOfTheFullAttention) {
  const auto W = random_matrix<row_major<TypeParam>>(this->d, this->dk, this->random);
  this->expect_steps(this->narrow, scores::general{W});
}

TYPED_TEST(LuongAttention, ConcatStepsAreTheRowsOfTheFullAttention) {
  const auto W = random_matrix<row_major<TypeParam>>(this->d + this->dk, this->a, this->random);
  const auto v = random_matrix<column<TypeParam>>(this->a, 1, this->random);
  this->expect_steps(this->narrow, scores::concat{W, v});
}

TYPED_TEST(LuongAttention, LengthHidesThePadding) {
  luong_attention<TypeParam> decoder(scores::dot{});
  this->K.bottomRows(4).setConstant(std::numeric_limits<TypeParam>::quiet_NaN());
  decoder.set_memory(this->K, this->V, 7);
  const row_major<TypeParam> live = this->K.topRows(7), values = this->V.topRows(7);
  const auto truth = oracle::attention(this->Q, live, values, scores::dot{});
  const auto step = decoder.step(this->Q);
  EXPECT_LE(max_error(step.context, truth.output), this->tolerance);
  EXPECT_TRUE(bitwise_equal(step.weights.rightCols(4), row_major<TypeParam>::Zero(this->n, 4)));
}

TYPED_TEST(LuongAttention, TakesPoliciesInAStep) {
  luong_attention<TypeParam> decoder(scores::dot{});
  decoder.set_memory(this->K, this->V);
  const masks::causal_bottom_right mask;
  options opts;
  opts.scale = 0.5;
  const auto truth = oracle::attention(this->Q, this->K, this->V, scores::dot{}, mask, opts);
  EXPECT_LE(max_error(decoder.step(this->Q, mask, opts).context, truth.output), this->tolerance);
}

TYPED_TEST(LuongAttention, StepsAgreeWithTheNaiveKernelInAllForms) {
  using T = TypeParam;
  options naive;
  naive.kernel = kernel::naive;
  const index many = 650;
  const auto keys = random_matrix<row_major<T>>(many, this->dk, this->random);
  const auto W = random_matrix<row_major<T>>(this->d, this->dk, this->random);
  const auto both = random_matrix<row_major<T>>(this->d + this->dk, this->a, this->random);
  const auto v = random_matrix<column<T>>(this->a, 1, this->random);
  for (auto decoder :
       {luong_attention<T>(scores::general{W}), luong_attention<T>(scores::concat{both, v})}) {
    decoder.set_memory(keys);
    const auto step = decoder.step(this->Q), truth = decoder.step(this->Q, naive);
    const double bound = attention_bound<T>(double(many), 2 * double(this->d), 20, 4);
    EXPECT_LE(max_error(step.context, truth.context), bound);
    EXPECT_LE(max_error(step.weights, truth.weights), bound);
    for (index i = 0; i < this->n; ++i)
      EXPECT_TRUE(bitwise_equal(decoder.step(this->Q.row(i)).weights, step.weights.row(i)));
  }
}

/// attention() multiplies the queries by W, steps the keys.
TYPED_TEST(LuongAttention, GivesTheBitsOfAttentionWhereKeysStayAsTheyAre) {
  options few;
  few.kernel = kernel::few_queries;
  const auto expect_same = [&](const auto& score) {
    luong_attention<TypeParam> decoder(score);
    decoder.set_memory(this->K, this->V);
    EXPECT_TRUE(bitwise_equal(decoder.step(this->Q).context,
                              attention(this->Q, this->K, this->V, score, few)));
  };
  expect_same(scores::dot{});
  expect_same(scores::scaled_dot{});
}

TYPED_TEST(LuongAttention, OwnsItsParameters) {
  using T = TypeParam;
  auto W = random_matrix<row_major<T>>(this->d, this->dk, this->random);
  auto both = random_matrix<row_major<T>>(this->d + this->dk, this->a, this->random);
  auto v = random_matrix<column<T>>(this->a, 1, this->random);
  luong_attention<T> general(scores::general{W}), concat(scores::concat{both, v});
  luong_attention<T> general_before = general, concat_before = concat;
  general_before.set_memory(this->narrow);
  concat_before.set_memory(this->narrow);
  W.setZero();
  both.setZero();
  v.setZero();
  general.set_memory(this->narrow);
  concat.set_memory(this->narrow);
  EXPECT_TRUE(bitwise_equal(general.step(this->Q).weights, general_before.step(this->Q).weights));
  EXPECT_TRUE(bitwise_equal(concat.step(this->Q).weights, concat_before.step(this->Q).weights));
}

/// The keys of a memory say where the matrix of `concat` is cut.
TYPED_TEST(LuongAttention, KeysOfAnotherSizeAreWelcomeWhereTheScoreAllowsThem) {
  using T = TypeParam;
  const auto W = random_matrix<row_major<T>>(this->d + this->dk, this->a, this->random);
  const auto v = random_matrix<column<T>>(this->a, 1, this->random);
  luong_attention<T> concat(scores::concat{W, v});
  concat.set_memory(this->narrow);
  concat.set_memory(this->K);  // d features, which leaves d_k for a query
  const auto step = concat.step(this->narrow);
  const auto truth = oracle::attention(this->narrow, this->K, this->K, scores::concat{W, v});
  EXPECT_LE(max_error(step.weights, truth.weights), this->tolerance);
}

TYPED_TEST(LuongAttention, RejectsWhatDoesNotFit) {
  using T = TypeParam;
  const char* step = "luong_attention::step: query.cols() is ";
  const auto W = random_matrix<row_major<T>>(this->d, this->dk, this->random);
  const column<T> v = column<T>::Zero(9), fitting = column<T>::Zero(4);
  expect_error<shape_error>([&] { (void)luong_attention<T>(scores::concat{W, v}); },
                            {"luong_attention: scores::concat v.size() is 9", "W.cols() is 4"});
  luong_attention<T> dot(scores::dot{});
  expect_error<argument_error>([&] { (void)dot.step(this->Q); },
                               {"luong_attention::step", "set_memory"});
  dot.set_memory(this->narrow);
  expect_error<shape_error>([&] { (void)dot.step(this->Q); }, {step, "5", "keys.cols() is 4"});
  luong_attention<T> general(scores::general{W});
  expect_error<shape_error>([&] { general.set_memory(this->K); },
                            {"set_memory: keys.cols() is 5", "W.cols() is 4"});
  general.set_memory(this->narrow);
  expect_error<shape_error>([&] { (void)general.step(this->narrow); },
                            {step, "4", "W.rows() is 5"});
  luong_attention<T> concat(scores::concat{W, fitting});
  const row_major<T> wide = row_major<T>::Zero(this->m, 6);
  expect_error<shape_error>([&] { concat.set_memory(wide); },
                            {"set_memory: keys.cols() is 6", "W.rows() is 5"});
  concat.set_memory(this->narrow);
  expect_error<shape_error>([&] { (void)concat.step(this->Q); },
                            {step, "5", "W.rows() - keys.cols() is 1"});
}

}  // namespace
}  // namespace softlook::luong_attention_test
