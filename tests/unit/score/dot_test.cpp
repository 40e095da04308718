#include "softlook/score/dot.hpp"

#include "tests/support/random.hpp"
#include "tests/support/score_checks.hpp"
#include "tests/support/ways.hpp"

namespace softlook::dot_test {
namespace {

using namespace softlook_test;

template <class T>
class DotScores : public ::testing::Test {
 protected:
  static constexpr index d = 13;
  generator random = seed(21);
  row_major<T> Q = random_matrix<row_major<T>>(7, d, random);
  row_major<T> K = random_matrix<row_major<T>>(11, d, random);

  long double product(index i, index j) const {
    long double sum = 0;
    for (index f = 0; f < d; ++f)
      sum += static_cast<long double>(Q(i, f)) * static_cast<long double>(K(j, f));
    return sum;
  }
  static long double norm(const row_major<T>& X, index row) {
    long double sum = 0;
    for (index f = 0; f < d; ++f)
      sum += static_cast<long double>(X(row, f)) * static_cast<long double>(X(row, f));
    return std::sqrt(sum);
  }
  double largest() const { return d * max_magnitude(Q) * max_magnitude(K); }
};
TYPED_TEST_SUITE(DotScores, scalars, scalar_names);

TYPED_TEST(DotScores, DotIsTheSumOfProducts) {
  expect_scores(
      this->Q, this->K, scores::dot{}, [&](index i, index j) { return this->product(i, j); },
      this->d, this->largest());
}

TYPED_TEST(DotScores, ScaledDotDividesByTheRootOfTheFeatures) {
  const long double root = std::sqrt(static_cast<long double>(this->d));
  expect_scores(
      this->Q, this->K, scores::scaled_dot{},
      [&](index i, index j) { return this->product(i, j) / root; }, this->d, this->largest());
}

TYPED_TEST(DotScores, ScaledDotIsTheDefault) {
  const auto given = attention_scores(this->Q, this->K, stage::raw, scores::scaled_dot{});
  EXPECT_TRUE(bitwise_equal(attention_scores(this->Q, this->K, stage::raw), given));
}

TYPED_TEST(DotScores, CosineDividesByBothNorms) {
  expect_scores(
      this->Q, this->K, scores::cosine{},
      [&](index i, index j) {
        return this->product(i, j) / (this->norm(this->Q, i) * this->norm(this->K, j));
      },
      3 * this->d, 1);
}

TYPED_TEST(DotScores, CosineOfAZeroVectorIsZero) {
  this->Q.row(2).setZero();
  this->K.row(3).setZero();
  const auto raw = attention_scores(this->Q, this->K, stage::raw, scores::cosine{});
  ASSERT_TRUE(all_finite(raw));
  for (index j = 0; j < this->K.rows(); ++j) EXPECT_EQ(raw(2, j), 0);
  for (index i = 0; i < this->Q.rows(); ++i) EXPECT_EQ(raw(i, 3), 0);
}

TYPED_TEST(DotScores, ScaleOfTheOptionsReplacesTheDefault) {
  options opts;
  opts.scale = 0.25;
  for (index i = 0; i < this->Q.rows(); ++i) {
    for (index j = 0; j < this->K.rows(); ++j) {
      const double bound = dot_product_bound<TypeParam>(this->d, this->largest());
      const auto truth = static_cast<double>(0.25L * this->product(i, j));
      EXPECT_NEAR(attention_scores(this->Q, this->K, stage::raw, opts)(i, j), truth, bound);
      EXPECT_NEAR(attention_scores(this->Q, this->K, stage::raw, opts, scores::dot{})(i, j), truth,
                  bound);
    }
  }
}

}  // namespace
}  // namespace softlook::dot_test
