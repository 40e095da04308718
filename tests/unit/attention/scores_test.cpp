// Every score policy through every kernel.
#include <gtest/gtest.h>

#include "tests/support/agreement.hpp"
#include "tests/support/random.hpp"

namespace softlook::scores_test {
namespace {

using namespace softlook_test;

template <class T>
class AttentionWithScores : public ::testing::Test {
 protected:
  static constexpr index n = 41, m = 67, dq = 6, dk = 9, a = 12, e = 7;
  generator random = seed(151);
  row_major<T> Q = random_matrix<row_major<T>>(n, dq, random);
  row_major<T> K = random_matrix<row_major<T>>(m, dk, random);
  row_major<T> V = random_matrix<row_major<T>>(m, e, random);
  column<T> v = random_matrix<column<T>>(a, 1, random);
  column<T> b = random_matrix<column<T>>(a, 1, random);

  row_major<T> weights(index rows, index cols) {
    return random_matrix<row_major<T>>(rows, cols, random, 0.4);
  }
  template <class Score>
  void expect_agreement(const Score& score) const {
    for (const index queries : {index{1}, index{2}, n}) {
      const row_major<T> some = Q.topRows(queries);
      expect_every_way_agrees(some, K, V, std::nullopt, score);
      expect_every_way_agrees(some, K, V, 0.3, score);
    }
  }
};
TYPED_TEST_SUITE(AttentionWithScores, scalars, scalar_names);

TYPED_TEST(AttentionWithScores, Dot) {
  this->K = this->K.leftCols(this->dq).eval();
  this->expect_agreement(scores::dot{});
}

TYPED_TEST(AttentionWithScores, ScaledDot) {
  this->K = this->K.leftCols(this->dq).eval();
  this->expect_agreement(scores::scaled_dot{});
}

TYPED_TEST(AttentionWithScores, Cosine) {
  this->K = this->K.leftCols(this->dq).eval();
  this->expect_agreement(scores::cosine{});
  this->Q.row(1).setZero();
  this->K.row(5).setZero();
  this->expect_agreement(scores::cosine{});
}

TYPED_TEST(AttentionWithScores, General) {
  const auto W = this->weights(this->dq, this->dk);
  this->expect_agreement(scores::general{W});
}

TYPED_TEST(AttentionWithScores, Additive) {
  const auto Wq = this->weights(this->dq, this->a), Wk = this->weights(this->dk, this->a);
  this->expect_agreement(scores::additive{Wq, Wk, this->v});
}

TYPED_TEST(AttentionWithScores, AdditiveWithBias) {
  const auto Wq = this->weights(this->dq, this->a), Wk = this->weights(this->dk, this->a);
  this->expect_agreement(scores::additive{Wq, Wk, this->v, this->b});
}

TYPED_TEST(AttentionWithScores, Concat) {
  const auto W = this->weights(this->dq + this->dk, this->a);
  this->expect_agreement(scores::concat{W, this->v});
}

TYPED_TEST(AttentionWithScores, AdditiveProjected) {
  this->Q = this->weights(this->n, this->a);
  this->K = this->weights(this->m, this->a);
  this->expect_agreement(scores::additive_projected{this->v});
}

TYPED_TEST(AttentionWithScores, ConcatIsAdditiveWithItsHalves) {
  const auto W = this->weights(this->dq + this->dk, this->a);
  const row_major<TypeParam> Wq = W.topRows(this->dq), Wk = W.bottomRows(this->dk);
  EXPECT_TRUE(
      bitwise_equal(attention(this->Q, this->K, this->V, scores::concat{W, this->v}),
                    attention(this->Q, this->K, this->V, scores::additive{Wq, Wk, this->v})));
}

}  // namespace
}  // namespace softlook::scores_test
