#include "softlook/attention/entmax.hpp"

#include <algorithm>
#include <vector>

#include "softlook/exec/thread_pool.hpp"
#include "tests/oracle/attention.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/kernels.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"
#include "tests/support/storage.hpp"

namespace softlook::entmax_test {
namespace {

using namespace softlook_test;
using oracle::real;

/// p_j = [(α − 1) z_j − τ]₊^{1/(α−1)} by bisection for τ: Peters et al., 2019, algorithm 1.
oracle::matrix entmax_rows(const oracle::matrix& Z, real alpha) {
  oracle::matrix P = oracle::matrix::Zero(Z.rows(), Z.cols());
  for (index i = 0; i < Z.rows(); ++i) {
    const real* z = Z.data() + i * Z.cols();
    real top = -oracle::infinity;
    for (index j = 0; j < Z.cols(); ++j) top = std::max(top, z[j]);
    if (top == -oracle::infinity) continue;
    const auto weight = [&](index j, real tau) {
      const real base = (alpha - 1) * (z[j] - top) - tau;
      return base > 0 ? std::pow(base, 1 / (alpha - 1)) : real(0);
    };
    const auto sum_at = [&](real tau) {
      real sum = 0;
      for (index j = 0, m = Z.cols(); j < m; ++j) sum += weight(j, tau);
      return sum;
    };
    real low = -1, high = 0;
    for (real tau = (low + high) / 2; tau > low && tau < high; tau = (low + high) / 2)
      (sum_at(tau) >= 1 ? low : high) = tau;
    const real sum = sum_at(low);
    for (index j = 0; j < Z.cols(); ++j) P(i, j) = weight(j, low) / sum;
  }
  return P;
}

/// Sorted scores and the largest support that fits: Martins & Astudillo, 2016, algorithm 1.
oracle::matrix sparsemax_rows(const oracle::matrix& Z) {
  oracle::matrix P(Z.rows(), Z.cols());
  for (index i = 0; i < Z.rows(); ++i) {
    std::vector<real> z(std::size_t(Z.cols()));
    for (index j = 0; j < Z.cols(); ++j) z[std::size_t(j)] = Z(i, j);
    std::sort(z.rbegin(), z.rend());
    real sum = 0, threshold = 0;
    for (std::size_t k = 0; k < z.size(); ++k) {
      sum += z[k];
      if (1 + real(k + 1) * z[k] > sum) threshold = (sum - 1) / real(k + 1);
    }
    for (index j = 0; j < Z.cols(); ++j) P(i, j) = std::max(Z(i, j) - threshold, real(0));
  }
  return P;
}

/// What scores off by δ do to a weight: the base (α − 1) z − τ moves by 2(α − 1)δ at most, because
/// τ lies between what it is for z − δ and for z + δ; the power has slope 1/(α − 1) at most on
/// [0, 1], or is a root, for which |x^β − y^β| ≤ |x − y|^β.
double entmax_bound(double alpha, double score_error) {
  if (alpha <= 2) return 2 * score_error;
  return std::pow(2 * (alpha - 1) * score_error, 1 / (alpha - 1));
}

/// entmax itself computes in double and rounds its weights to T.
template <class T>
double rows_bound(double alpha, index keys, double magnitude) {
  const double steps = 8 + static_cast<double>(keys);
  return entmax_bound(alpha, steps * epsilon_of<double>() * (1 + magnitude)) +
         steps * epsilon_of<double>() + epsilon_of<T>();
}

constexpr double alphas[] = {1.0001, 1.25, 1.5, 1.75, 2, 2.5, 4};

template <class T>
class Entmax : public ::testing::Test {
 protected:
  generator random = seed(77);
};
TYPED_TEST_SUITE(Entmax, scalars, scalar_names);

TYPED_TEST(Entmax, IsTheMaximiserWithTsallisEntropy) {
  for (const index m : {1, 2, 5, 37, 200})
    for (const double magnitude : {0.5, 20.0})
      for (const double alpha : alphas) {
        const auto S = random_matrix<row_major<TypeParam>>(4, m, this->random, magnitude);
        EXPECT_LE(max_error(entmax(S, alpha), entmax_rows(oracle::widen(S), real(alpha))),
                  rows_bound<TypeParam>(alpha, m, max_magnitude(S)))
            << alpha << " of " << m << " scores of " << magnitude;
      }
}

TYPED_TEST(Entmax, IsSparsemaxAtTwo) {
  for (const index m : {1, 3, 97}) {
    const auto S = random_matrix<col_major<TypeParam>>(5, m, this->random);
    EXPECT_LE(max_error(sparsemax(S), sparsemax_rows(oracle::widen(S))),
              rows_bound<TypeParam>(2, m, max_magnitude(S)));
  }
}

TYPED_TEST(Entmax, IsSoftmaxAtOneAndNearIt) {
  const auto S = random_matrix<row_major<TypeParam>>(5, 23, this->random, 2);
  const oracle::matrix Z = oracle::widen(S);
  oracle::matrix truth(5, 23);
  for (index i = 0; i < 5; ++i) {
    real sum = 0;
    for (index j = 0; j < 23; ++j) sum += std::exp(Z(i, j));
    for (index j = 0; j < 23; ++j) truth(i, j) = std::exp(Z(i, j)) / sum;
  }
  const double rounding = attention_bound<TypeParam>(23, 1, max_magnitude(S), 1);
  EXPECT_LE(max_error(entmax(S, 1), truth), rounding);
  // The next number above 1: what α does to a weight is of second order in the scores.
  const double beside = std::nextafter(1.0, 2.0);
  const double apart = (beside - 1) * std::pow(2 * max_magnitude(S) + std::log(23.0), 2);
  EXPECT_LE(max_error(entmax(S, beside), truth), rounding + apart);
}

TYPED_TEST(Entmax, GivesExactZerosAndRowsThatSumToOne) {
  const auto S = random_matrix<row_major<TypeParam>>(40, 60, this->random, 2);
  for (const double alpha : {1.25, 1.5, 2.0, 3.0}) {
    const auto P = entmax(S, alpha);
    const auto truth = entmax_rows(oracle::widen(S), real(alpha));
    index zeros = 0;
    for (index i = 0; i < 40; ++i) {
      real sum = 0;
      for (index j = 0; j < 60; ++j) {
        EXPECT_GE(P(i, j), TypeParam(0));
        if (truth(i, j) == 0) {
          EXPECT_EQ(P(i, j), TypeParam(0)) << i << ", " << j;
        }
        zeros += P(i, j) == 0;
        sum += real(P(i, j));
      }
      EXPECT_NEAR(double(sum), 1, 60 * epsilon_of<TypeParam>());
    }
    EXPECT_GT(zeros, 0) << alpha;
  }
}

TYPED_TEST(Entmax, SharesTheWeightAmongEqualScores) {
  for (const double alpha : {1.0, 1.3, 1.5, 2.0, 3.0, 40.0, 1e4}) {
    const row_major<TypeParam> S = row_major<TypeParam>::Constant(1, 8, TypeParam(-3.25));
    const auto P = entmax(S, alpha);
    for (index j = 0; j < 8; ++j)
      EXPECT_NEAR(double(P(0, j)), 0.125, epsilon_of<TypeParam>()) << alpha;
  }
}

TYPED_TEST(Entmax, IsHardmaxForLargeAlpha) {
  const auto S = random_matrix<row_major<TypeParam>>(6, 11, this->random);
  const auto P = entmax(S, 1e6);
  for (index i = 0; i < 6; ++i) {
    index best = 0;
    S.row(i).maxCoeff(&best);
    for (index j = 0; j < 11; ++j) EXPECT_EQ(P(i, j), TypeParam(j == best));
  }
}

TYPED_TEST(Entmax, TakesScoresOfAnyMagnitude) {
  using T = TypeParam;
  const T most = std::numeric_limits<T>::max();
  row_major<T> S(3, 3);
  S << most, -most, 0, std::numeric_limits<T>::denorm_min(), 0, 0, T(-1e30), T(-1e30), T(-1e30);
  for (const double alpha : {1.3, 1.5, 2.0, 2.5}) {
    const auto P = entmax(S, alpha);
    EXPECT_EQ(P(0, 0), T(1)) << alpha;
    EXPECT_EQ(P(0, 1) + P(0, 2), T(0)) << alpha;
    for (index i = 1; i < 3; ++i)
      for (index j = 0; j < 3; ++j) EXPECT_NEAR(double(P(i, j)), 1.0 / 3, epsilon_of<T>()) << alpha;
  }
}

TYPED_TEST(Entmax, GivesNothingToMinusInfinityAndNaNToWhatHoldsNaN) {
  using T = TypeParam;
  const T never = -std::numeric_limits<T>::infinity();
  row_major<T> S(4, 3);
  S << never, never, never, never, 2, never, 0, std::numeric_limits<T>::quiet_NaN(), never, 0,
      -never, 1;
  for (const double alpha : {1.0, 1.4, 1.5, 2.0, 3.0}) {
    const auto P = entmax(S, alpha);
    EXPECT_TRUE(row_is_zero(P, 0)) << alpha;
    EXPECT_EQ(P(1, 1), T(1)) << alpha;
    EXPECT_EQ(P(1, 0) + P(1, 2), T(0)) << alpha;
    EXPECT_TRUE(row_is_nan(P, 2)) << alpha;
    EXPECT_TRUE(std::isnan(P(3, 1))) << alpha;
  }
}

TYPED_TEST(Entmax, TakesMatricesWithoutRowsOrKeys) {
  EXPECT_EQ(entmax(row_major<TypeParam>(0, 4), 1.5).cols(), 4);
  EXPECT_EQ(entmax(row_major<TypeParam>(3, 0), 2).rows(), 3);
}

TYPED_TEST(Entmax, RejectsAnAlphaBelowOne) {
  const row_major<TypeParam> S = row_major<TypeParam>::Zero(1, 2);
  for (const double alpha :
       {0.5, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    expect_error<argument_error>([&] { (void)entmax(S, alpha); }, {"entmax: alpha is", "softmax"});
}

template <class T>
class EntmaxAttention : public ::testing::Test {
 protected:
  static constexpr index d = 13, e = 19;
  generator random = seed(78);

  problem_inputs<T> inputs(index n, index m) {
    return random_problem<T>({.queries = n, .keys = m, .features = d, .values = e}, random);
  }
  /// Scores are off by rounding, weights by what that does to them, outputs by a sum over values.
  static double bound(double alpha, index m, double score_magnitude, double value_magnitude) {
    const double of_scores = dot_product_bound<T>(d, 1 + score_magnitude);
    return (static_cast<double>(m) * entmax_bound(alpha, of_scores) + 4 * epsilon_of<T>()) *
           value_magnitude;
  }
  template <class... Ps>
  void expect_oracle(const problem_inputs<T>& p, const options& how, const Ps&... policies) {
    const auto scored = oracle::attention(p.Q, p.K, p.V, policies...);
    double magnitude = 0;
    for (index i = 0; i < scored.raw.rows(); ++i)
      for (index j = 0; j < scored.raw.cols(); ++j)
        magnitude = std::max(magnitude, double(std::abs(scored.raw(i, j))));
    for (const double alpha : {1.5, 2.0}) {
      const oracle::matrix P = entmax_rows(scored.scores, real(alpha));
      const oracle::matrix truth = oracle::product(P, oracle::widen(p.V));
      const auto O = entmax_attention(p.Q, p.K, p.V, alpha, policies..., how);
      EXPECT_LE(max_error(O, truth), bound(alpha, p.K.rows(), magnitude, max_magnitude(p.V)))
          << alpha << ", " << p.Q.rows() << "x" << p.K.rows();
      EXPECT_LE(max_error(entmax_attention_weights(p.Q, p.K, alpha, policies..., how), P),
                bound(alpha, 1, magnitude, 1))
          << alpha;
    }
  }
};
TYPED_TEST_SUITE(EntmaxAttention, scalars, scalar_names);

TYPED_TEST(EntmaxAttention, IsEntmaxOfTheScoresTimesTheValues) {
  for (const instruction_set isa : available_instruction_sets())
    for (const index n : {1, 7, 67})
      for (const index m : {1, 17, 101}) {
        options how;
        how.isa = isa;
        this->expect_oracle(this->inputs(n, m), how);
      }
}

TYPED_TEST(EntmaxAttention, TakesAnyMaskAndTransform) {
  for (const instruction_set isa : available_instruction_sets()) {
    options how;
    how.isa = isa;
    this->expect_oracle(this->inputs(83, 149), how, masks::causal_bottom_right{},
                        transforms::soft_cap{2.5});
    this->expect_oracle(this->inputs(149, 83), how,
                        masks::window{.left = 9, .right = 3} & masks::padding{.length = 71},
                        transforms::alibi{0.25});
  }
}

TYPED_TEST(EntmaxAttention, TakesAdditiveScores) {
  using T = TypeParam;
  const auto p = this->inputs(9, 31);
  const auto Wq = random_matrix<row_major<T>>(this->d, 6, this->random);
  const auto Wk = random_matrix<row_major<T>>(this->d, 6, this->random);
  const auto v = random_matrix<column<T>>(6, 1, this->random);
  this->expect_oracle(p, {}, scores::additive(Wq, Wk, v), masks::causal{.offset = 5});
}

TYPED_TEST(EntmaxAttention, TakesScoresThatProject) {
  using T = TypeParam;
  const auto p = this->inputs(9, 31);
  const auto W = random_matrix<row_major<T>>(this->d, this->d, this->random, 0.2);
  this->expect_oracle(p, {}, scores::general(W));
  this->expect_oracle(p, {}, scores::cosine{});
  const column<T> w = column<T>::Constant(3 * this->d, T(0.125));
  this->expect_oracle(p, {}, scores::trilinear(w));
}

TYPED_TEST(EntmaxAttention, IsAttentionAtOne) {
  const auto p = this->inputs(20, 40);
  const masks::causal mask{.offset = 3};
  EXPECT_TRUE(
      bitwise_equal(entmax_attention(p.Q, p.K, p.V, 1, mask), attention(p.Q, p.K, p.V, mask)));
  EXPECT_TRUE(bitwise_equal(entmax_attention_weights(p.Q, p.K, 1, mask),
                            attention_weights(p.Q, p.K, mask)));
}

TYPED_TEST(EntmaxAttention, GivesZerosToAQueryWithoutKeys) {
  const auto p = this->inputs(9, 20);
  for (const double alpha : {1.0, 1.5, 2.0, 3.0}) {
    const auto O = entmax_attention(p.Q, p.K, p.V, alpha, masks::causal{.offset = -3});
    for (index i = 0; i < 3; ++i) EXPECT_TRUE(row_is_zero(O, i)) << alpha;
    EXPECT_TRUE(bitwise_equal(O.row(3), p.V.row(0))) << alpha;
    const auto none = this->inputs(4, 0);
    const auto zeros = entmax_attention(none.Q, none.K, none.V, alpha);
    for (index i = 0; i < 4; ++i) EXPECT_TRUE(row_is_zero(zeros, i)) << alpha;
  }
}

TYPED_TEST(EntmaxAttention, TakesEmptyInputs) {
  using T = TypeParam;
  const auto p = this->inputs(0, 5);
  EXPECT_EQ(entmax_attention(p.Q, p.K, p.V, 2).rows(), 0);
  const auto few = this->inputs(3, 5);
  EXPECT_EQ(entmax_attention(few.Q, few.K, row_major<T>(5, 0), 2).cols(), 0);
  const auto mean = entmax_attention(row_major<T>(2, 0), row_major<T>(5, 0), few.V, 1.5);
  EXPECT_LE(max_error(mean.row(1), oracle::widen(few.V).colwise().mean()),
            this->bound(1.5, 5, 0, max_magnitude(few.V)));
}

TYPED_TEST(EntmaxAttention, NeverTouchesAValueWithoutWeight) {
  using T = TypeParam;
  auto p = this->inputs(12, 30);
  p.Q *= T(4);  // sparse rows
  const auto clean = entmax_attention(p.Q, p.K, p.V, 2);
  const auto P = entmax_attention_weights(p.Q, p.K, 2);
  index unused = 0;
  for (index j = 0; j < 30; ++j)
    if ((P.col(j).array() == 0).all()) {
      p.V.row(j).setConstant(std::numeric_limits<T>::quiet_NaN());
      ++unused;
    }
  ASSERT_GT(unused, 0);
  EXPECT_TRUE(bitwise_equal(entmax_attention(p.Q, p.K, p.V, 2), clean));
}

TYPED_TEST(EntmaxAttention, KeepsANaNInItsRowAndOutOfMaskedPairs) {
  using T = TypeParam;
  auto p = this->inputs(12, 12);
  const auto clean = entmax_attention(p.Q, p.K, p.V, 1.5, masks::causal_top_left{});
  p.Q(4, 1) = std::numeric_limits<T>::quiet_NaN();
  p.K(9, 2) = std::numeric_limits<T>::quiet_NaN();
  const auto O = entmax_attention(p.Q, p.K, p.V, 1.5, masks::causal_top_left{});
  for (index i = 0; i < 12; ++i)
    if (i == 4 || i >= 9)
      EXPECT_TRUE(row_is_nan(O, i)) << i;
    else
      EXPECT_TRUE(bitwise_equal(O.row(i), clean.row(i))) << i;
}

TYPED_TEST(EntmaxAttention, HasTheSameBitsForEveryExecutorStorageAndSplit) {
  using T = TypeParam;
  const auto p = this->inputs(150, 90);
  const transforms::soft_cap cap{3};
  const masks::causal mask{.offset = 10};
  const auto O = entmax_attention(p.Q, p.K, p.V, 1.5, cap, mask);
  exec::thread_pool pool(3);
  EXPECT_TRUE(bitwise_equal(entmax_attention(p.Q, p.K, p.V, 1.5, cap, mask, pool), O));
  EXPECT_TRUE(bitwise_equal(entmax_attention(p.Q, p.K, p.V, 1.5, cap, mask, round_robin{}), O));
  const col_major<T> q = p.Q, k = p.K, v = p.V;
  EXPECT_TRUE(bitwise_equal(entmax_attention(q, k, v, 1.5, cap, mask), O));
  strided_copy<T> sq(p.Q), sk(p.K), sv(p.V);
  EXPECT_TRUE(bitwise_equal(entmax_attention(sq.map(), sk.map(), sv.map(), 1.5, cap, mask), O));
  const auto half =
      entmax_attention(p.Q.bottomRows(75), p.K, p.V, 1.5, cap, masks::causal{.offset = 85});
  EXPECT_TRUE(bitwise_equal(half, O.bottomRows(75)));
}

TYPED_TEST(EntmaxAttention, WritesIntoABlockAndUsesAWorkspace) {
  using T = TypeParam;
  const auto p = this->inputs(33, 50);
  const auto O = entmax_attention(p.Q, p.K, p.V, 2);
  col_major<T> around = col_major<T>::Zero(40, this->e + 2);
  workspace scratch;
  options how;
  how.workspace = &scratch;
  for (int call = 0; call < 2; ++call) {
    around.setZero();
    entmax_attention_into(p.Q, p.K, p.V, around.block(3, 1, 33, this->e), 2, how);
    EXPECT_TRUE(bitwise_equal(around.block(3, 1, 33, this->e), O));
    EXPECT_EQ(around.row(2).squaredNorm() + around.col(0).squaredNorm(), T(0));
  }
  EXPECT_GT(scratch.bytes(), std::size_t(0));
}

TYPED_TEST(EntmaxAttention, StoresBlocksOfScoresAndNeverAllOfThem) {
  using T = TypeParam;
  const index n = 3000, m = 500;
  const auto p = random_problem<T>({.queries = n, .keys = m, .features = 4, .values = 4}, seed(5));
  workspace scratch;
  options how;
  how.workspace = &scratch;
  (void)entmax_attention(p.Q, p.K, p.V, 1.5, how);
  EXPECT_LE(scratch.bytes(), std::size_t(n * m) * sizeof(T) / 8);
  const std::size_t before = scratch.bytes();
  const row_major<T> twice = p.Q.replicate(2, 1);
  (void)entmax_attention(twice, p.K, p.V, 1.5, how);
  EXPECT_EQ(scratch.bytes(), before);
}

TYPED_TEST(EntmaxAttention, OfHeadsIsThatOfEachHeadAlone) {
  using T = TypeParam;
  const index n = 70, m = 130, features = 6, values = 5;
  const auto Q = random_matrix<row_major<T>>(n, 6 * features, this->random, 2);
  const auto v = random_matrix<column<T>>(features, 1, this->random);
  const masks::causal mask{.offset = 50};
  const transforms::alibi slopes{0.125};
  const exec::thread_pool pool(3);
  for (const index kv : {6, 3, 1}) {
    const heads h{.query = 6, .kv = kv};
    const auto K = random_matrix<row_major<T>>(m, kv * features, this->random, 2);
    const auto V = random_matrix<row_major<T>>(m, kv * values, this->random);
    const auto compare = [&](const auto& score) {
      for (const double alpha : {1.0, 1.5, 2.0}) {
        const auto O = entmax_attention(Q, K, V, alpha, h, score, mask, options{});
        const auto all = entmax_attention_weights(Q, K, alpha, h, score, mask);
        ASSERT_EQ(O.cols(), 6 * values);
        ASSERT_EQ(all.size(), 6u);
        for (index q = 0; q < 6; ++q) {
          const auto Qh = head_columns(Q, q, 6), Kh = head_columns(K, q * kv / 6, kv),
                     Vh = head_columns(V, q * kv / 6, kv);
          EXPECT_TRUE(bitwise_equal(row_major<T>(O.middleCols(q * values, values)),
                                    entmax_attention(Qh, Kh, Vh, alpha, score, mask)))
              << alpha << ", head " << q << " of " << kv;
          EXPECT_TRUE(bitwise_equal(all[std::size_t(q)],
                                    entmax_attention_weights(Qh, Kh, alpha, score, mask)));
        }
        EXPECT_TRUE(
            bitwise_equal(entmax_attention(Q, K, V, alpha, h, score, mask, options{}, pool), O));
        EXPECT_TRUE(bitwise_equal(
            entmax_attention(Q, K, V, alpha, h, score, mask, options{}, round_robin{}), O));
      }
    };
    compare(scores::scaled_dot{});
    compare(scores::additive_projected{v});
    // The head is what a policy is told.
    row_major<T> into(n, 6 * values);
    entmax_attention_into(Q, K, V, into, 1.5, h, slopes);
    const auto scored = attention_scores(Q, K, stage::masked, h, slopes);
    for (index q = 0; q < 6; ++q) {
      const auto P = entmax_rows(oracle::widen(scored[std::size_t(q)]), 1.5L);
      const auto truth = oracle::product(P, oracle::widen(head_columns(V, q * kv / 6, kv)));
      EXPECT_LE(max_error(into.middleCols(q * values, values), truth),
                this->bound(1.5, m, max_magnitude(scored[std::size_t(q)]), max_magnitude(V)));
    }
  }
}

TYPED_TEST(EntmaxAttention, OfAPartOfTheQueriesIsThatPartOfTheWhole) {
  const auto p = this->inputs(90, 70);
  const masks::causal_bottom_right mask;
  const auto O = entmax_attention(p.Q, p.K, p.V, 1.5, mask, transforms::soft_cap{2});
  const auto part =
      entmax_attention(p.Q.middleRows(31, 20), p.K, p.V, 1.5, mask, transforms::soft_cap{2},
                       frame{.first_query = 31, .queries = 90});
  EXPECT_TRUE(bitwise_equal(part, O.middleRows(31, 20)));
}

TYPED_TEST(EntmaxAttention, OfAdditiveScoresAndHeadsStoresBlocksOfScores) {
  using T = TypeParam;
  const auto Q = random_matrix<row_major<T>>(1000, 4 * 3, this->random);
  const auto K = random_matrix<row_major<T>>(2000, 4 * 3, this->random);
  const auto v = random_matrix<column<T>>(3, 1, this->random);
  workspace scratch;
  options how;
  how.workspace = &scratch;
  (void)entmax_attention(Q.topRows(500), K, K, 1.5, scores::additive_projected{v},
                         heads{.query = 4}, how);
  const std::size_t before = scratch.bytes();
  EXPECT_LE(before, std::size_t(500 * 2000) * sizeof(T));
  (void)entmax_attention(Q, K, K, 1.5, scores::additive_projected{v}, heads{.query = 4}, how);
  EXPECT_EQ(scratch.bytes(), before);
}

TYPED_TEST(EntmaxAttention, RejectsWhatDoesNotFit) {
  auto p = this->inputs(6, 8);
  const row_major<TypeParam> short_values = p.V.topRows(7);
  expect_error<shape_error>([&] { (void)entmax_attention(p.Q, p.K, short_values, 2); },
                            {"entmax_attention", "V.rows() is 7", "K.rows() is 8"});
  expect_error<argument_error>([&] { (void)entmax_attention(p.Q, p.K, p.V, 0.9); },
                               {"entmax_attention: alpha is 0.9"});
  expect_error<argument_error>([&] { (void)entmax_attention_weights(p.Q, p.K, -1); },
                               {"entmax_attention_weights: alpha is -1"});
  row_major<TypeParam> square = p.V;
  expect_error<argument_error>(
      [&] { entmax_attention_into(p.Q, p.K, square, square.topRows(6), 2); },
      {"entmax_attention_into: O overlaps V"});
}

}  // namespace
}  // namespace softlook::entmax_test
