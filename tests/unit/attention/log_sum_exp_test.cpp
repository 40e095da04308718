// Log-sum-exp is natural, over the scaled, capped, biased and masked scores.
#include <gtest/gtest.h>

#include "tests/support/agreement.hpp"
#include "tests/support/random.hpp"

namespace softlook::log_sum_exp_test {
namespace {

using namespace softlook_test;

template <class T>
class LogSumExp : public ::testing::Test {
 protected:
  problem_inputs<T> p =
      random_problem<T>({.queries = 21, .keys = 40, .features = 9, .values = 3}, seed(121));
};
TYPED_TEST_SUITE(LogSumExp, scalars, scalar_names);

TYPED_TEST(LogSumExp, IsThatOfTheMaskedScores) {
  using T = TypeParam;
  const masks::causal_bottom_right mask;
  const transforms::soft_cap cap{4.0};
  const transforms::alibi slope{0.3};
  const auto scores = attention_scores(this->p.Q, this->p.K, stage::masked, mask, cap, slope);
  for (const way& which : every_way()) {
    const auto state =
        attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, mask, cap, slope, which.opts);
    for (index i = 0; i < 21; ++i) {
      long double sum = 0;
      for (index j = 0; j < 40; ++j) sum += std::exp(static_cast<long double>(scores(i, j)));
      EXPECT_NEAR(state.log_sum_exp(i), static_cast<double>(std::log(sum)),
                  2 * log_sum_exp_rounding<T>(max_magnitude(this->p.Q) + 12))
          << which.name;
    }
  }
}

TYPED_TEST(LogSumExp, OfEqualScoresIsTheScorePlusTheLogOfTheirNumber) {
  using T = TypeParam;
  for (const double score : {-700.0, -3.0, 0.0, 5.0, 800.0}) {
    const row_major<T> Q = row_major<T>::Ones(3, 1);
    const row_major<T> K = row_major<T>::Constant(50, 1, static_cast<T>(score));
    const row_major<T> V = this->p.V.topRows(3).replicate(17, 1).topRows(50);
    for (const way& which : every_way()) {
      const auto state = attention_with_log_sum_exp(Q, K, V, which.opts);
      for (index i = 0; i < 3; ++i)
        EXPECT_NEAR(state.log_sum_exp(i), score + std::log(50.0),
                    log_sum_exp_rounding<T>(std::fabs(score)))
            << which.name;
    }
  }
}

TYPED_TEST(LogSumExp, ComesWithTheSameOutput) {
  for (const way& which : every_way())
    EXPECT_TRUE(bitwise_equal(
        attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V, which.opts).output,
        attention(this->p.Q, this->p.K, this->p.V, which.opts)))
        << which.name;
}

TYPED_TEST(LogSumExp, IsAColumnOfOneEntryPerQuery) {
  const auto state = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V);
  EXPECT_EQ(state.log_sum_exp.rows(), 21);
  EXPECT_EQ(state.log_sum_exp.cols(), 1);
}

}  // namespace
}  // namespace softlook::log_sum_exp_test
