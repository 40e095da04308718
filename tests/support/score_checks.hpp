// A score policy against its formula, written out by the test with its own matrices.
#pragma once

#include <gtest/gtest.h>

#include "tests/oracle/scores.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/kernels.hpp"

namespace softlook_test {

/// `formula(i, j)` is the score before scale, in long double; `magnitude` bounds the sum of the
/// absolute values of its terms, `terms` their number.
template <class Matrix, class Score, class Formula>
void expect_scores(const Matrix& Q, const Matrix& K, const Score& score, const Formula& formula,
                   double terms, double magnitude) {
  using T = typename Matrix::Scalar;
  const auto raw = softlook::attention_scores(Q, K, softlook::stage::raw, score);
  const auto defined = oracle::define<T>(score, oracle::widen(Q), oracle::widen(K));
  ASSERT_EQ(raw.rows(), Q.rows());
  ASSERT_EQ(raw.cols(), K.rows());
  oracle::matrix truth(Q.rows(), K.rows()), by_oracle(Q.rows(), K.rows());
  for (Eigen::Index i = 0; i < Q.rows(); ++i) {
    for (Eigen::Index j = 0; j < K.rows(); ++j) {
      truth(i, j) = formula(i, j);
      by_oracle(i, j) = defined.default_scale * oracle::score_of(defined, i, j);
    }
  }
  EXPECT_LE(max_error(by_oracle, truth), dot_product_bound<long double>(terms, magnitude));
  EXPECT_LE(max_error(raw, truth), dot_product_bound<T>(terms, magnitude));
}

}  // namespace softlook_test
