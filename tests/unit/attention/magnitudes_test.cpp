// Numbers of every size: signed zeros, subnormals, huge values, ties, scores far apart.
#include <gtest/gtest.h>

#include "tests/support/agreement.hpp"
#include "tests/support/random.hpp"

namespace softlook::magnitudes_test {
namespace {

using namespace softlook_test;

template <class T>
class Magnitudes : public ::testing::Test {
 protected:
  static constexpr index n = 35, m = 61, d = 7, e = 6;
  problem_inputs<T> p =
      random_problem<T>({.queries = n, .keys = m, .features = d, .values = e}, seed(131));
};
TYPED_TEST_SUITE(Magnitudes, scalars, scalar_names);

TYPED_TEST(Magnitudes, SharpScores) {
  for (const double magnitude : {3.0, 10.0, 30.0, 1000.0}) {
    this->p = random_problem<TypeParam>({.queries = this->n,
                                         .keys = this->m,
                                         .features = this->d,
                                         .values = this->e,
                                         .magnitude = magnitude},
                                        seed(132));
    expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt);
  }
}

TYPED_TEST(Magnitudes, FlatScores) {
  this->p.Q *= TypeParam(1e-6);
  expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt);
}

TYPED_TEST(Magnitudes, TiesShareTheWeightEqually) {
  using T = TypeParam;
  this->p.K = this->p.K.row(0).replicate(this->m, 1).eval();
  expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt);
  const auto weights = attention_weights(this->p.Q, this->p.K);
  for (index i = 0; i < this->n; ++i)
    for (index j = 0; j < this->m; ++j)
      EXPECT_NEAR(weights(i, j), 1.0 / double(this->m), unit_sum_bound<T>(double(this->m)));
}

TYPED_TEST(Magnitudes, ZerosOfBothSigns) {
  using T = TypeParam;
  this->p.Q.setConstant(-T(0));
  this->p.K.topRows(30).setZero();
  expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt);
  this->p.V.setConstant(-T(0));
  for (const way& which : every_way()) {
    const auto output = attention(this->p.Q, this->p.K, this->p.V, which.opts);
    for (index i = 0; i < this->n; ++i) EXPECT_TRUE(row_is_zero(output, i)) << which.name;
  }
}

TYPED_TEST(Magnitudes, SubnormalInputs) {
  using T = TypeParam;
  const T tiny = std::numeric_limits<T>::denorm_min() * T(100);
  this->p.Q *= tiny;
  expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt);
  this->p = random_problem<T>(
      {.queries = this->n, .keys = this->m, .features = this->d, .values = this->e}, seed(133));
  this->p.V *= tiny;
  for (const way& which : every_way()) {
    const auto output = attention(this->p.Q, this->p.K, this->p.V, which.opts);
    ASSERT_TRUE(all_finite(output)) << which.name;
    EXPECT_LE(max_magnitude(output), max_magnitude(this->p.V)) << which.name;
  }
}

TYPED_TEST(Magnitudes, HugeValues) {
  this->p.V *= TypeParam(1e30);
  expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt);
}

TYPED_TEST(Magnitudes, HugeKeysAgainstTinyQueries) {
  this->p.K *= TypeParam(1e30);
  this->p.Q *= TypeParam(1e-30);
  expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt);
}

// Scores of ±1e30 are finite: the largest one takes all the weight.
TYPED_TEST(Magnitudes, HugeScoresSelectTheStrongestKey) {
  using T = TypeParam;
  const row_major<T> Q = row_major<T>::Constant(20, 1, T(1e30));
  row_major<T> K = this->p.K.leftCols(1);
  K = K.cwiseMin(T(3));
  K(17, 0) = T(4);
  for (const way& which : every_way()) {
    const auto state = attention_with_log_sum_exp(Q, K, this->p.V, which.opts);
    for (index i = 0; i < 20; ++i) {
      EXPECT_TRUE(bitwise_equal(state.output.row(i), this->p.V.row(17))) << which.name;
      EXPECT_NEAR(state.log_sum_exp(i), 4e30, rounding_of<T>(4e30, 1)) << which.name;
    }
  }
}

// The maximum grows in every tile, so every tile rescales what came before.
TYPED_TEST(Magnitudes, RisingAndFallingScores) {
  using T = TypeParam;
  for (const double step : {-2.0, -0.01, 0.01, 2.0, 40.0}) {
    row_major<T> K(300, 1);
    for (index j = 0; j < 300; ++j) K(j, 0) = static_cast<T>(step * static_cast<double>(j));
    const row_major<T> Q = row_major<T>::Ones(20, 1);
    const auto V =
        random_problem<T>({.queries = 1, .keys = 300, .features = 1, .values = 4}, seed(134)).V;
    expect_every_way_agrees(Q, K, V, std::nullopt);
  }
}

// A tile whose scores lie far below the maximum contributes nothing and costs nothing.
TYPED_TEST(Magnitudes, ScoresFarBelowTheMaximumVanish) {
  using T = TypeParam;
  row_major<T> B = row_major<T>::Zero(1, this->m);
  B.rightCols(40).setConstant(T(-1e5));
  expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt, transforms::bias{B});
  B.setConstant(T(-1e5));
  expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt, transforms::bias{B});
}

TYPED_TEST(Magnitudes, BiasOfMinusInfinityInPlaces) {
  using T = TypeParam;
  generator random = seed(135);
  row_major<T> B = random_matrix<row_major<T>>(this->n, this->m, random);
  for (index i = 0; i < this->n; ++i)
    for (index j = 0; j < this->m; ++j)
      if (random.chance(0.6)) B(i, j) = -std::numeric_limits<T>::infinity();
  expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, std::nullopt, transforms::bias{B});
}

TYPED_TEST(Magnitudes, ScalesOfEverySize) {
  for (const double scale : {0.0, 1e-20, -0.5, 0.001, 7.0})
    expect_every_way_agrees(this->p.Q, this->p.K, this->p.V, scale);
}

}  // namespace
}  // namespace softlook::magnitudes_test
