#include "softlook/score/additive.hpp"

#include <type_traits>

#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/score_checks.hpp"
#include "tests/support/ways.hpp"

namespace softlook::additive_test {
namespace {

using namespace softlook_test;

template <class T>
class AdditiveScores : public ::testing::Test {
 protected:
  static constexpr index dq = 5, dk = 7, a = 10, n = 6, m = 9;
  generator random = seed(23);
  row_major<T> Q = random_matrix<row_major<T>>(n, dq, random);
  row_major<T> K = random_matrix<row_major<T>>(m, dk, random);
  row_major<T> Wq = random_matrix<row_major<T>>(dq, a, random);
  col_major<T> Wk = random_matrix<col_major<T>>(dk, a, random);
  row_major<T> W = random_matrix<row_major<T>>(dq + dk, a, random);
  column<T> v = random_matrix<column<T>>(a, 1, random);
  column<T> b = random_matrix<column<T>>(a, 1, random);

  template <class X, class Y>
  static long double project(const X& x, index row, const Y& weights, index unit) {
    long double sum = 0;
    for (index f = 0; f < x.cols(); ++f)
      sum += static_cast<long double>(x(row, f)) * static_cast<long double>(weights(f, unit));
    return sum;
  }
  // v·tanh(...): an error of an argument is at most that of its projection, tanh' ≤ 1.
  double terms() const { return 4 * (a + dq + dk); }
  double largest() const {
    return static_cast<double>(v.cwiseAbs().sum()) * (1 + max_magnitude(Q) * max_magnitude(W));
  }
};
TYPED_TEST_SUITE(AdditiveScores, scalars, scalar_names);

TYPED_TEST(AdditiveScores, AreBahdanausFormula) {
  expect_scores(
      this->Q, this->K, scores::additive{this->Wq, this->Wk, this->v},
      [&](index i, index j) {
        long double sum = 0;
        for (index u = 0; u < this->a; ++u)
          sum += static_cast<long double>(this->v(u)) *
                 std::tanh(this->project(this->Q, i, this->Wq, u) +
                           this->project(this->K, j, this->Wk, u));
        return sum;
      },
      this->terms(), this->largest());
}

TYPED_TEST(AdditiveScores, AddTheBiasInsideTheTanh) {
  expect_scores(
      this->Q, this->K, scores::additive{this->Wq, this->Wk, this->v, this->b},
      [&](index i, index j) {
        long double sum = 0;
        for (index u = 0; u < this->a; ++u)
          sum += static_cast<long double>(this->v(u)) *
                 std::tanh(this->project(this->Q, i, this->Wq, u) +
                           this->project(this->K, j, this->Wk, u) +
                           static_cast<long double>(this->b(u)));
        return sum;
      },
      this->terms(), this->largest());
}

TYPED_TEST(AdditiveScores, SayInTheirRecipesThatTheyAreAdditive) {
  using T = TypeParam;
  const scores::additive<T> two{this->Wq, this->Wk, this->v};
  const scores::concat<T> one{this->W, this->v};
  const scores::additive_projected<T> none{this->v};
  EXPECT_TRUE(two.template recipe<T>("attention", this->dq, this->dk).additive);
  EXPECT_TRUE(one.template recipe<T>("attention", this->dq, this->dk).additive);
  EXPECT_TRUE(none.template recipe<T>("attention", this->a, this->a).additive);
}

TYPED_TEST(AdditiveScores, TakeTheVectorAsARowToo) {
  const Eigen::Matrix<TypeParam, 1, Eigen::Dynamic> row = this->v.transpose();
  EXPECT_TRUE(bitwise_equal(
      attention_scores(this->Q, this->K, stage::raw, scores::additive{this->Wq, this->Wk, row}),
      attention_scores(this->Q, this->K, stage::raw,
                       scores::additive{this->Wq, this->Wk, this->v})));
}

TYPED_TEST(AdditiveScores, ConcatProjectsTheQueryBesideTheKey) {
  expect_scores(
      this->Q, this->K, scores::concat{this->W, this->v},
      [&](index i, index j) {
        long double sum = 0;
        for (index u = 0; u < this->a; ++u) {
          long double inside = 0;
          for (index f = 0; f < this->dq; ++f)
            inside +=
                static_cast<long double>(this->Q(i, f)) * static_cast<long double>(this->W(f, u));
          for (index f = 0; f < this->dk; ++f)
            inside += static_cast<long double>(this->K(j, f)) *
                      static_cast<long double>(this->W(this->dq + f, u));
          sum += static_cast<long double>(this->v(u)) * std::tanh(inside);
        }
        return sum;
      },
      this->terms(), this->largest());
}

TYPED_TEST(AdditiveScores, ProjectedInputsAreAddedAsTheyAre) {
  const auto q = random_matrix<row_major<TypeParam>>(4, this->a, this->random);
  const auto k = random_matrix<row_major<TypeParam>>(5, this->a, this->random);
  expect_scores(
      q, k, scores::additive_projected{this->v},
      [&](index i, index j) {
        long double sum = 0;
        for (index u = 0; u < this->a; ++u)
          sum += static_cast<long double>(this->v(u)) *
                 std::tanh(static_cast<long double>(q(i, u)) + static_cast<long double>(k(j, u)));
        return sum;
      },
      this->terms(), this->largest());
}

TYPED_TEST(AdditiveScores, RejectParametersOfOtherShapes) {
  const auto score_with = [&](const auto& to_q, const auto& to_k, const auto& sum) {
    (void)attention_scores(this->Q, this->K, stage::raw, scores::additive{to_q, to_k, sum});
  };
  const auto wrong = random_matrix<row_major<TypeParam>>(8, this->a, this->random);
  const row_major<TypeParam> narrow = this->Wk.leftCols(3);
  const column<TypeParam> shorter = this->v.head(4);
  expect_error<shape_error>([&] { score_with(wrong, this->Wk, this->v); }, {"Wq", "8", "5"});
  expect_error<shape_error>([&] { score_with(this->Wq, wrong, this->v); }, {"Wk", "8", "7"});
  expect_error<shape_error>([&] { score_with(this->Wq, narrow, this->v); }, {"3", "10"});
  expect_error<shape_error>([&] { score_with(this->Wq, this->Wk, shorter); }, {"v", "4", "10"});
  expect_error<shape_error>(
      [&] {
        (void)attention_scores(this->Q, this->K, stage::raw,
                               scores::additive{this->Wq, this->Wk, this->v, shorter});
      },
      {"b", "4", "10"});
}

TYPED_TEST(AdditiveScores, ConcatRejectsParametersOfOtherShapes) {
  const column<TypeParam> shorter = this->v.head(4);
  expect_error<shape_error>(
      [&] {
        (void)attention_scores(this->Q, this->K, stage::raw, scores::concat{this->Wq, this->v});
      },
      {"5", "12"});
  expect_error<shape_error>(
      [&] {
        (void)attention_scores(this->Q, this->K, stage::raw, scores::concat{this->W, shorter});
      },
      {"4", "10"});
}

TYPED_TEST(AdditiveScores, ProjectedInputsMustShareTheSizeOfTheVector) {
  expect_error<shape_error>(
      [&] {
        (void)attention_scores(this->Q, this->Q, stage::raw, scores::additive_projected{this->v});
      },
      {"10", "5"});
}

TYPED_TEST(AdditiveScores, RejectTemporaries) {
  using T = TypeParam;
  static_assert(!std::is_constructible_v<scores::additive_projected<T>, column<T>>);
  static_assert(!std::is_constructible_v<scores::concat<T>, row_major<T>, const column<T>&>);
  static_assert(!std::is_constructible_v<scores::additive<T>, const row_major<T>&, row_major<T>,
                                         const column<T>&>);
}

}  // namespace
}  // namespace softlook::additive_test
