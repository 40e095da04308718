// Finite scores of any size, up to the largest number of the scalar type: the lowest one is what
// others add to a score to mask it.
#include <gtest/gtest.h>

#include <limits>

#include "tests/support/agreement.hpp"
#include "tests/support/random.hpp"

namespace softlook::extreme_scores_test {
namespace {

using namespace softlook_test;

template <class T>
class ExtremeScores : public ::testing::Test {
 protected:
  static constexpr T most = std::numeric_limits<T>::max();
  static constexpr index n = 13, m = 150;

  problem_inputs<T> p =
      random_problem<T>({.queries = n, .keys = m, .features = 8, .values = 5}, seed(131));

  /// Every way gives what the formula gives in long double.
  void expect_formula(const row_major<T>& Q, const row_major<T>& K, const row_major<T>& bias) {
    const double scale = 1 / std::sqrt(static_cast<double>(Q.cols()));
    for (const index queries : {n, index{2}}) {
      const auto some = Q.topRows(queries).eval();
      const auto B = bias.topRows(queries).eval();
      for (const way& which : every_way()) {
        const auto state =
            attention_with_log_sum_exp(some, K, p.V, transforms::bias(B), which.opts);
        for (index i = 0; i < queries; ++i) {
          std::vector<long double> s(static_cast<std::size_t>(m));
          long double top = -std::numeric_limits<long double>::infinity(), sum = 0;
          for (index j = 0; j < m; ++j) {
            long double& score = s[static_cast<std::size_t>(j)];
            for (index c = 0; c < Q.cols(); ++c)
              score += static_cast<long double>(Q(i, c)) * K(j, c) * scale;
            score += B(i, j);
            top = std::max(top, score);
          }
          for (const long double score : s) sum += std::exp(score - top);
          const long double expected = top + std::log(sum);
          ASSERT_TRUE(std::isfinite(state.log_sum_exp(i))) << which.name << ", row " << i;
          EXPECT_LE(std::fabs(state.log_sum_exp(i) - expected),
                    4 * std::numeric_limits<T>::epsilon() * std::max(1.0L, std::fabs(expected)))
              << which.name;
          for (index c = 0; c < p.V.cols(); ++c) {
            long double output = 0;
            for (index j = 0; j < m; ++j)
              output += std::exp(s[static_cast<std::size_t>(j)] - top) / sum * p.V(j, c);
            ASSERT_TRUE(std::isfinite(state.output(i, c))) << which.name << ", row " << i;
            EXPECT_NEAR(state.output(i, c), static_cast<double>(output),
                        400 * std::numeric_limits<T>::epsilon())
                << which.name << ", row " << i;
          }
        }
      }
    }
  }
};
TYPED_TEST_SUITE(ExtremeScores, scalars, scalar_names);

TYPED_TEST(ExtremeScores, OfTheLowestNumberEverywhereAreEqual) {
  using T = TypeParam;
  row_major<T> bias = row_major<T>::Zero(this->n, this->m);
  bias.row(0).setConstant(-this->most);
  bias.row(1).setConstant(-this->most / 2);
  bias.row(2).leftCols(100).setConstant(-this->most);
  bias.row(3).rightCols(100).setConstant(-this->most);
  this->expect_formula(this->p.Q, this->p.K, bias);
}

TYPED_TEST(ExtremeScores, OfTheLargestNumberTakeAllWeight) {
  using T = TypeParam;
  row_major<T> bias = row_major<T>::Zero(this->n, this->m);
  bias(0, 7) = this->most;
  bias(1, 149) = this->most * T(0.75);
  bias.row(2).setConstant(this->most);
  bias.row(3).setConstant(-this->most);
  bias(3, 70) = this->most;
  bias.row(4).setConstant(this->most * T(0.7));
  bias(4, 3) = this->most * T(0.71);
  this->expect_formula(this->p.Q, this->p.K, bias);
}

TYPED_TEST(ExtremeScores, OfHugeQueriesAndTinyKeys) {
  using T = TypeParam;
  row_major<T> Q = row_major<T>::Constant(this->n, 1, this->most);
  Q.bottomRows(5) *= T(-1);
  const row_major<T> K = this->p.K.leftCols(1) / this->most;
  this->expect_formula(Q, K, row_major<T>::Zero(this->n, this->m));
}

}  // namespace
}  // namespace softlook::extreme_scores_test
