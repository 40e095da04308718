#include "softlook/score/qk_norm.hpp"

#include <cmath>
#include <limits>

#include "tests/support/agreement.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/score_checks.hpp"

namespace softlook::qk_norm_test {
namespace {

using namespace softlook_test;
using real = long double;

template <class T>
class QkNormScores : public ::testing::Test {
 protected:
  static constexpr index d = 13;
  generator random = seed(27);
  row_major<T> Q = random_matrix<row_major<T>>(7, d, random);
  row_major<T> K = random_matrix<row_major<T>>(11, d, random);
  row_major<T> V = random_matrix<row_major<T>>(11, 3, random);
  column<T> gain_q = random_matrix<column<T>>(d, 1, random);
  column<T> gain_k = random_matrix<column<T>>(d, 1, random);

  /// r(x), as it is written.
  static real root(const row_major<T>& X, index row, bool mean, double epsilon) {
    real sum = 0;
    for (index f = 0; f < d; ++f) sum += real(X(row, f)) * real(X(row, f));
    return std::sqrt((mean ? sum / d : sum) + real(epsilon));
  }
  real formula(index i, index j, bool mean, double epsilon) const {
    real sum = 0;
    for (index f = 0; f < d; ++f)
      sum += real(gain_q[f]) * real(Q(i, f)) / root(Q, i, mean, epsilon) *
             (real(gain_k[f]) * real(K(j, f)) / root(K, j, mean, epsilon));
    return mean ? sum / std::sqrt(real(d)) : sum;
  }
  double largest() const { return d * max_magnitude(gain_q) * max_magnitude(gain_k); }
};
TYPED_TEST_SUITE(QkNormScores, scalars, scalar_names);

TYPED_TEST(QkNormScores, DivideByTheRootOfTheMeanSquare) {
  for (const double epsilon : {0.0, 1e-6, 0.5})
    expect_scores(
        this->Q, this->K, scores::qk_norm(this->gain_q, this->gain_k, {.epsilon = epsilon}),
        [&](index i, index j) { return this->formula(i, j, true, epsilon); }, 3 * this->d,
        this->largest());
}

TYPED_TEST(QkNormScores, DivideByTheEuclideanNorm) {
  for (const double epsilon : {0.0, 0.5})
    expect_scores(
        this->Q, this->K,
        scores::qk_norm(this->gain_q, this->gain_k,
                        {.norm = scores::row_norm::l2, .epsilon = epsilon}),
        [&](index i, index j) { return this->formula(i, j, false, epsilon); }, 3 * this->d,
        this->largest());
}

TYPED_TEST(QkNormScores, AreOfTheRootMeanSquareAndAMillionthWithoutOptions) {
  const row_major<TypeParam> small = this->Q * TypeParam(1e-3);  // of which ε is a part that counts
  const scores::qk_norm score(this->gain_q, this->gain_k);
  const scores::qk_norm same(this->gain_q, this->gain_k,
                             {.norm = scores::row_norm::rms, .epsilon = 1e-6});
  EXPECT_TRUE(bitwise_equal(attention_scores(small, this->K, stage::raw, score),
                            attention_scores(small, this->K, stage::raw, same)));
}

TYPED_TEST(QkNormScores, AgreeWithTheOracleEveryWay) {
  const scores::qk_norm score(this->gain_q, this->gain_k);
  expect_every_way_agrees(this->Q, this->K, this->V, std::nullopt, score);
  expect_every_way_agrees(this->Q, this->K, this->V, 2.5, score, masks::causal_bottom_right{});
}

TYPED_TEST(QkNormScores, WithoutGainAndEpsilonAreTheCosine) {
  const column<TypeParam> ones = column<TypeParam>::Ones(this->d);
  const scores::qk_norm score(ones, ones, {.norm = scores::row_norm::l2, .epsilon = 0});
  EXPECT_TRUE(bitwise_equal(attention_scores(this->Q, this->K, stage::raw, score),
                            attention_scores(this->Q, this->K, stage::raw, scores::cosine{})));
}

TYPED_TEST(QkNormScores, NeitherOverflowNorVanish) {
  using T = TypeParam;
  const scores::qk_norm score(this->gain_q, this->gain_k, {.epsilon = 0});
  const auto truth = attention_scores(this->Q, this->K, stage::raw, score);
  const T large = std::sqrt(std::numeric_limits<T>::max());
  for (const T size : {large, 1 / large}) {
    const row_major<T> far = this->Q * size;
    EXPECT_LE(max_error(attention_scores(far, this->K, stage::raw, score), truth),
              dot_product_bound<T>(3 * this->d, this->largest()));
  }
  // ε that dwarfs a row: q / √ε.
  const row_major<T> tiny = this->Q / large;
  const scores::qk_norm softened(this->gain_q, this->gain_k, {.epsilon = 4});
  const auto small = attention_scores(tiny, this->K, stage::raw, softened);
  ASSERT_TRUE(all_finite(small));
  for (index i = 0; i < tiny.rows(); ++i)
    for (index j = 0; j < this->K.rows(); ++j) {
      real sum = 0;
      for (index f = 0; f < this->d; ++f)
        sum += real(this->gain_q[f]) * real(tiny(i, f)) / 2 * real(this->gain_k[f]) *
               real(this->K(j, f)) / this->root(this->K, j, true, 4);
      EXPECT_NEAR(double(small(i, j)), double(sum / std::sqrt(real(this->d))),
                  dot_product_bound<T>(3 * this->d, this->largest() * max_magnitude(tiny)));
    }
}

TYPED_TEST(QkNormScores, OfARowOfZerosAreZero) {
  this->Q.row(2).setZero();
  for (const double epsilon : {0.0, 1e-6}) {
    const scores::qk_norm score(this->gain_q, this->gain_k, {.epsilon = epsilon});
    const auto raw = attention_scores(this->Q, this->K, stage::raw, score);
    ASSERT_TRUE(all_finite(raw));
    for (index j = 0; j < this->K.rows(); ++j) EXPECT_EQ(raw(2, j), 0);
  }
}

TYPED_TEST(QkNormScores, HaveOneGainForAllHeads) {
  using T = TypeParam;
  const auto two_Q = random_matrix<row_major<T>>(7, 2 * this->d, this->random);
  const auto two_K = random_matrix<row_major<T>>(11, 2 * this->d, this->random);
  const scores::qk_norm score(this->gain_q, this->gain_k);
  const auto weights = attention_weights(two_Q, two_K, score, heads{.query = 2});
  for (index h = 0; h < 2; ++h)
    EXPECT_TRUE(bitwise_equal(
        weights[std::size_t(h)],
        attention_weights(head_columns(two_Q, h, 2), head_columns(two_K, h, 2), score)));
}

TYPED_TEST(QkNormScores, RejectGainsOfAnotherSizeAndAnEpsilonOutOfRange) {
  const column<TypeParam> short_gain = this->gain_q.head(5);
  expect_error<shape_error>(
      [&] { (void)attention_weights(this->Q, this->K, scores::qk_norm(short_gain, this->gain_k)); },
      {"attention_weights: scores::qk_norm gain_q.size() is 5 but Q.cols() is 13"});
  expect_error<shape_error>(
      [&] { (void)attention_weights(this->Q, this->K, scores::qk_norm(this->gain_q, short_gain)); },
      {"scores::qk_norm gain_k.size() is 5 but K.cols() is 13"});
  expect_error<argument_error>(
      [&] {
        (void)attention_weights(this->Q, this->K,
                                scores::qk_norm(this->gain_q, this->gain_k, {.epsilon = -1}));
      },
      {"scores::qk_norm epsilon is -1"});
}

}  // namespace
}  // namespace softlook::qk_norm_test
