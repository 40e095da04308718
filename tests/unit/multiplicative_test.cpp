#include "softlook/multiplicative.hpp"

#include <gtest/gtest.h>

#include "tests/support/agreement.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook {
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

  template <class Score>
  void expect_steps(luong_attention<T> decoder, const row_major<T>& keys,
                    const Score& score) const {
    decoder.set_memory(keys, V);
    const auto truth = oracle::attention(Q, keys, V, score);
    const auto all = decoder.step(Q);
    EXPECT_LE(max_error(all.context, truth.output), tolerance);
    EXPECT_LE(max_error(all.weights, truth.weights), tolerance);
    for (index i = 0; i < n; ++i) {
      const auto step = decoder.step(Q.row(i));
      EXPECT_LE(max_error(step.context, truth.output.row(i)), tolerance);
      EXPECT_LE(max_error(step.weights, truth.weights.row(i)), tolerance);
    }
  }
};
TYPED_TEST_SUITE(LuongAttention, scalars, scalar_names);

TYPED_TEST(LuongAttention, DotStepsAreTheRowsOfTheFullAttention) {
  this->expect_steps(luong_attention<TypeParam>::dot(), this->K, scores::dot{});
}

TYPED_TEST(LuongAttention, ScaledDotStepsAreTheRowsOfTheFullAttention) {
  this->expect_steps(luong_attention<TypeParam>::scaled_dot(), this->K, scores::scaled_dot{});
}

TYPED_TEST(LuongAttention, GeneralStepsAreTheRowsOfTheFullAttention) {
  const auto W = random_matrix<row_major<TypeParam>>(this->d, this->dk, this->random);
  this->expect_steps(luong_attention<TypeParam>::general(W), this->narrow, scores::general{W});
}

TYPED_TEST(LuongAttention, ConcatStepsAreTheRowsOfTheFullAttention) {
  const auto W = random_matrix<row_major<TypeParam>>(this->d + this->dk, this->a, this->random);
  const auto v = random_matrix<column<TypeParam>>(this->a, 1, this->random);
  this->expect_steps(luong_attention<TypeParam>::concat(W, v), this->narrow, scores::concat{W, v});
}

TYPED_TEST(LuongAttention, LengthHidesThePadding) {
  auto decoder = luong_attention<TypeParam>::dot();
  this->K.bottomRows(4).setConstant(std::numeric_limits<TypeParam>::quiet_NaN());
  decoder.set_memory(this->K, this->V, 7);
  const row_major<TypeParam> live = this->K.topRows(7), values = this->V.topRows(7);
  const auto truth = oracle::attention(this->Q, live, values, scores::dot{});
  const auto step = decoder.step(this->Q);
  EXPECT_LE(max_error(step.context, truth.output), this->tolerance);
  EXPECT_TRUE(bitwise_equal(step.weights.rightCols(4), row_major<TypeParam>::Zero(this->n, 4)));
}

TYPED_TEST(LuongAttention, TakesPoliciesInAStep) {
  auto decoder = luong_attention<TypeParam>::dot();
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
  for (auto decoder : {luong_attention<T>::general(W), luong_attention<T>::concat(both, v)}) {
    decoder.set_memory(keys);
    const auto step = decoder.step(this->Q), truth = decoder.step(this->Q, naive);
    const double bound = attention_bound<T>(double(many), 2 * double(this->d), 20, 4);
    EXPECT_LE(max_error(step.context, truth.context), bound);
    EXPECT_LE(max_error(step.weights, truth.weights), bound);
    for (index i = 0; i < this->n; ++i)
      EXPECT_TRUE(bitwise_equal(decoder.step(this->Q.row(i)).weights, step.weights.row(i)));
  }
}

TYPED_TEST(LuongAttention, RejectsWhatDoesNotFit) {
  using T = TypeParam;
  const auto W = random_matrix<row_major<T>>(this->d, this->dk, this->random);
  const column<T> v = column<T>::Zero(9);
  expect_error<shape_error>([&] { (void)luong_attention<T>::concat(W, v); }, {"9", "4"});
  auto dot = luong_attention<T>::dot();
  expect_error<argument_error>([&] { (void)dot.step(this->Q); }, {"set_memory"});
  dot.set_memory(this->narrow);
  expect_error<shape_error>([&] { (void)dot.step(this->Q); }, {"4", "5"});
  auto general = luong_attention<T>::general(W);
  expect_error<shape_error>([&] { general.set_memory(this->K); }, {"5", "4"});
  general.set_memory(this->narrow);
  expect_error<shape_error>([&] { (void)general.step(this->narrow); }, {"4", "5"});
}

}  // namespace
}  // namespace softlook
