#include "softlook/score/general.hpp"

#include <type_traits>

#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/score_checks.hpp"
#include "tests/support/ways.hpp"

namespace softlook::general_test {
namespace {

using namespace softlook_test;

template <class T>
class GeneralScores : public ::testing::Test {
 protected:
  static constexpr index dq = 6, dk = 9;
  generator random = seed(22);
  row_major<T> Q = random_matrix<row_major<T>>(5, dq, random);
  row_major<T> K = random_matrix<row_major<T>>(8, dk, random);

  template <class Matrix>
  void expect_bilinear_form(const Matrix& W) const {
    const double largest = dq * dk * max_magnitude(Q) * max_magnitude(K) * max_magnitude(W);
    expect_scores(
        Q, K, scores::general{W},
        [&](index i, index j) {
          long double sum = 0;
          for (index a = 0; a < dq; ++a)
            for (index b = 0; b < dk; ++b)
              sum += static_cast<long double>(Q(i, a)) * static_cast<long double>(W(a, b)) *
                     static_cast<long double>(K(j, b));
          return sum;
        },
        dq + dk, largest);
  }
};
TYPED_TEST_SUITE(GeneralScores, scalars, scalar_names);

TYPED_TEST(GeneralScores, AreTheBilinearForm) {
  const auto by_rows = random_matrix<row_major<TypeParam>>(6, 9, this->random);
  this->expect_bilinear_form(by_rows);
}

TYPED_TEST(GeneralScores, TakeAnyStorageOfTheMatrix) {
  const auto by_cols = random_matrix<col_major<TypeParam>>(6, 9, this->random);
  this->expect_bilinear_form(by_cols);
  const auto wide = random_matrix<row_major<TypeParam>>(12, 10, this->random);
  const auto turned = wide.block(2, 3, 9, 6).transpose();
  this->expect_bilinear_form(turned);
}

TYPED_TEST(GeneralScores, RejectAMatrixOfAnotherShape) {
  const auto W = random_matrix<row_major<TypeParam>>(7, 9, this->random);
  expect_error<shape_error>(
      [&] { (void)attention_scores(this->Q, this->K, stage::raw, scores::general{W}); },
      {"attention_scores", "7", "6"});
  const auto U = random_matrix<row_major<TypeParam>>(6, 4, this->random);
  expect_error<shape_error>(
      [&] { (void)attention_scores(this->Q, this->K, stage::raw, scores::general{U}); },
      {"attention_scores", "4", "9"});
}

TYPED_TEST(GeneralScores, RejectATemporaryMatrix) {
  static_assert(!std::is_constructible_v<scores::general<TypeParam>, row_major<TypeParam>>);
}

}  // namespace
}  // namespace softlook::general_test
