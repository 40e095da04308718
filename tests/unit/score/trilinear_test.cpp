#include "softlook/score/trilinear.hpp"

#include <type_traits>

#include "tests/oracle/attention.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/score_checks.hpp"
#include "tests/support/ways.hpp"

namespace softlook::trilinear_test {
namespace {

using namespace softlook_test;
using oracle::real;

template <class T>
class TrilinearScores : public ::testing::Test {
 protected:
  static constexpr index d = 5;
  generator random = seed(23);
  row_major<T> Q = random_matrix<row_major<T>>(6, d, random);
  row_major<T> K = random_matrix<row_major<T>>(9, d, random);
  row_major<T> V = random_matrix<row_major<T>>(9, 3, random);
  column<T> w = random_matrix<column<T>>(3 * d, 1, random);

  /// Eq. (1) as it is written: a dot product with the joined features, one after another.
  template <class Vector>
  real formula(const Vector& of, index i, index j) const {
    real sum = 0;
    for (index f = 0; f < d; ++f) sum += real(of(f)) * real(Q(i, f));
    for (index f = 0; f < d; ++f) sum += real(of(d + f)) * real(K(j, f));
    for (index f = 0; f < of.size() - 2 * d; ++f)
      sum += real(of(2 * d + f)) * (real(Q(i, f)) * real(K(j, f)));
    return sum;
  }
  double magnitude() const {
    return 3 * d * max_magnitude(w) * (1 + max_magnitude(Q)) * (1 + max_magnitude(K));
  }
  template <class Vector>
  void expect_formula(const Vector& of) const {
    expect_scores(
        Q, K, scores::trilinear(of), [&](index i, index j) { return formula(of, i, j); }, 3 * d,
        magnitude());
  }
};
TYPED_TEST_SUITE(TrilinearScores, scalars, scalar_names);

TYPED_TEST(TrilinearScores, AreADotProductWithTheJoinedFeatures) {
  const Eigen::Matrix<TypeParam, 1, Eigen::Dynamic> row = this->w.transpose();
  this->expect_formula(row);
}

TYPED_TEST(TrilinearScores, LeaveOutTheProductsForTwiceTheFeatures) {
  const column<TypeParam> two_thirds = this->w.head(10);
  this->expect_formula(two_thirds);
}

TYPED_TEST(TrilinearScores, TakeAnyStorageOfTheVector) {
  const auto wide = random_matrix<row_major<TypeParam>>(15, 4, this->random);
  const auto by_column = wide.col(2);
  this->expect_formula(by_column);
  const col_major<TypeParam> turned = wide.transpose();
  const auto by_row = turned.row(1);
  this->expect_formula(by_row);
}

TYPED_TEST(TrilinearScores, AreThoseOfEveryKernelAndInstructionSet) {
  using T = TypeParam;
  const scores::trilinear score(this->w);
  const masks::causal mask{.offset = 2};
  const auto truth = oracle::attention(this->Q, this->K, this->V, score, mask);
  const double bound =
      attention_bound<T>(9, 3 * this->d, this->magnitude(), max_magnitude(this->V));
  for (const way& which : every_way()) {
    const auto O = attention(this->Q, this->K, this->V, score, mask, which.opts);
    EXPECT_LE(max_error(O, truth.output), bound) << which;
  }
}

TYPED_TEST(TrilinearScores, HaveTheSameWeightsForEveryStorageOrderOfTheInputs) {
  using T = TypeParam;
  const auto by_rows = attention(this->Q, this->K, this->V, scores::trilinear(this->w));
  const col_major<T> q = this->Q, k = this->K, v = this->V;
  EXPECT_TRUE(bitwise_equal(attention(q, k, v, scores::trilinear(this->w)), by_rows));
}

TYPED_TEST(TrilinearScores, KeepANaNInItsRow) {
  using T = TypeParam;
  this->Q(2, 1) = std::numeric_limits<T>::quiet_NaN();
  const auto O = attention(this->Q, this->K, this->V, scores::trilinear(this->w));
  for (index i = 0; i < 6; ++i) EXPECT_EQ(row_is_nan(O, i), i == 2) << i;
}

TYPED_TEST(TrilinearScores, TakeAConstantAndAnActivation) {
  using T = TypeParam;
  const row_major<T> c = row_major<T>::Constant(1, 1, T(0.25));
  const auto S = attention_scores(
      this->Q, this->K, stage::biased, scores::trilinear(this->w), transforms::bias(c),
      transforms::map([](auto s, std::int32_t, std::int32_t) { return math::tanh(s); }));
  for (index i = 0; i < 6; ++i)
    for (index j = 0; j < 9; ++j)
      EXPECT_NEAR(double(S(i, j)), double(std::tanh(this->formula(this->w, i, j) + real(0.25))),
                  dot_product_bound<T>(3 * this->d, 1 + this->magnitude()));
}

TYPED_TEST(TrilinearScores, ReportTheProjectedInputsOfAPlan) {
  using T = TypeParam;
  const auto plan = plan_attention(this->Q, this->K, this->V, scores::trilinear(this->w));
  EXPECT_GE(plan.projected_bytes, std::size_t((6 + 9) * (this->d + 1)) * sizeof(T));
}

TYPED_TEST(TrilinearScores, HaveNoFeaturesAtAll) {
  using T = TypeParam;
  const row_major<T> q(2, 0), k(3, 0), v = this->V.topRows(3);
  const column<T> none;
  const auto O = attention(q, k, v, scores::trilinear(none));
  EXPECT_LE(max_error(O, oracle::attention(q, k, v, scores::dot{}).output),
            attention_bound<T>(3, 0, 0, max_magnitude(v)));
}

TYPED_TEST(TrilinearScores, RejectAVectorOfAnotherSize) {
  const column<TypeParam> unfit = column<TypeParam>::Ones(13);
  expect_error<shape_error>(
      [&] { (void)attention_scores(this->Q, this->K, stage::raw, scores::trilinear(unfit)); },
      {"attention_scores", "scores::trilinear w.size()", "13", "15"});
}

TYPED_TEST(TrilinearScores, RejectKeysOfAnotherSize) {
  const row_major<TypeParam> k = row_major<TypeParam>::Ones(9, 4);
  expect_error<shape_error>(
      [&] { (void)attention_scores(this->Q, k, stage::raw, scores::trilinear(this->w)); },
      {"attention_scores", "K.cols()", "4", "5"});
}

TYPED_TEST(TrilinearScores, RejectATemporaryVector) {
  static_assert(!std::is_constructible_v<scores::trilinear<TypeParam>, column<TypeParam>>);
}

}  // namespace
}  // namespace softlook::trilinear_test
