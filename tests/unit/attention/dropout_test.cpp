// Dropout drops the same weights on every path, and what the formula says of the rest.
#include "tests/support/kernels.hpp"
//
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "softlook/attention.hpp"
#include "softlook/core/random.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::dropout_test {
namespace {

using softlook_test::all_finite;
using softlook_test::bitwise_equal;
using softlook_test::expect_error;
using softlook_test::random_problem;
using matrix = softlook_test::row_major<float>;

bool dropped(const dropout& d, index sequence, index head, index i, index j) {
  const auto words = detail::philox(
      {std::uint32_t(j / 4), std::uint32_t(i), std::uint32_t(head), std::uint32_t(sequence)},
      {std::uint32_t(d.seed), std::uint32_t(d.seed >> 32)});
  return double(words[std::size_t(j % 4)]) < d.probability * 0x1p32;
}

/// Σ_j keep·P/(1 − p)·V of one head, in double, from the weights of the library's own naive path.
Eigen::MatrixXd expected(const matrix& P, const matrix& V, const dropout& d, index head = 0,
                         index sequence = 0) {
  Eigen::MatrixXd O = Eigen::MatrixXd::Zero(P.rows(), V.cols());
  for (index i = 0; i < P.rows(); ++i)
    for (index j = 0; j < P.cols(); ++j)
      if (!dropped(d, sequence, head, i, j))
        O.row(i) += double(P(i, j)) / (1 - d.probability) * V.row(j).cast<double>();
  return O;
}

TEST(Dropout, DropsTheSameWeightsOnEveryPath) {
  const dropout d{.probability = 0.3, .seed = 0x123456789ABCDEFull};
  for (const index n : {1, 5, 70})
    for (const index m : {1, 50, 600}) {
      const auto in = random_problem<float>({.queries = n, .keys = m, .features = 24, .values = 20},
                                            softlook_test::seed(971));
      const masks::causal_bottom_right mask{};
      const matrix P = attention_weights(in.Q, in.K, mask);
      const Eigen::MatrixXd wanted = expected(P, in.V, d);
      for (const instruction_set isa : available_instruction_sets())
        for (const kernel by : {kernel::tiled, kernel::few_queries, kernel::naive}) {
          const auto is = attention_with_log_sum_exp(in.Q, in.K, in.V, mask, d,
                                                     options{.isa = isa, .kernel = by});
          ASSERT_TRUE(all_finite(is.output));
          EXPECT_LE((is.output.cast<double>() - wanted).cwiseAbs().maxCoeff(), 4e-6)
              << n << ' ' << m << ' ' << name_of(isa) << ' ' << name_of(by);
          const auto plain =
              attention_with_log_sum_exp(in.Q, in.K, in.V, mask, options{.isa = isa, .kernel = by});
          EXPECT_TRUE(bitwise_equal(is.log_sum_exp, plain.log_sum_exp));
        }
    }
}

/// The values are unit vectors, so that an entry of the output is a weight.
template <class T>
void expect_the_pattern(index n, index m, index first_key) {
  using matrix_of = softlook_test::row_major<T>;
  const dropout d{.probability = 0.4, .seed = 0xFEDCBA9876543210ull};
  const matrix_of Q = matrix_of::Random(n, 4), K = matrix_of::Random(m, 4);
  const matrix_of V = matrix_of::Identity(m, m);
  const frame place{.first_query = 9, .first_key = first_key};
  for (const instruction_set isa : available_instruction_sets())
    for (const kernel by : {kernel::tiled, kernel::few_queries, kernel::naive}) {
      const matrix_of O = attention(Q, K, V, d, place, options{.isa = isa, .kernel = by});
      for (index i = 0; i < n; ++i)
        for (index j = 0; j < m; ++j)
          ASSERT_EQ(O(i, j) == 0, dropped(d, 0, 0, 9 + i, first_key + j))
              << n << ' ' << m << ' ' << first_key << ' ' << i << ' ' << j << ' ' << name_of(isa)
              << ' ' << name_of(by);
    }
}

TEST(Dropout, DropsExactlyTheseWeightsWhereverKeysBegin) {
  for (const index first_key : {0, 1, 2, 3})
    for (const index m : {1, 2, 3, 7, 66, 131})
      for (const index n : {1, 3, 30}) {
        expect_the_pattern<float>(n, m, first_key);
        expect_the_pattern<double>(n, m, first_key);
      }
}

TEST(Dropout, KnowsHeadsSequencesAndPlaces) {
  const dropout d{.probability = 0.5, .seed = 7};
  const auto in = random_problem<float>({.queries = 90, .keys = 120, .features = 32, .values = 24},
                                        softlook_test::seed(972));
  const heads two{.query = 2};
  const matrix O = attention(in.Q, in.K, in.V, two, d);
  for (index h = 0; h < 2; ++h) {
    const matrix P = attention_weights(in.Q.middleCols(16 * h, 16), in.K.middleCols(16 * h, 16));
    const Eigen::MatrixXd wanted = expected(P, in.V.middleCols(12 * h, 12), d, h);
    EXPECT_LE((O.middleCols(12 * h, 12).cast<double>() - wanted).cwiseAbs().maxCoeff(), 4e-6);
  }
  const exec::thread_pool pool(3);
  EXPECT_TRUE(bitwise_equal(attention(in.Q, in.K, in.V, two, d, pool), O));
  // A piece drops what the whole drops.
  const matrix piece =
      attention(in.Q.middleRows(40, 30), in.K, in.V, two, d, frame{.first_query = 40});
  EXPECT_TRUE(bitwise_equal(piece, matrix(O.middleRows(40, 30))));
  // Sequences drop different ones.
  const std::vector<std::int32_t> at{0, 45, 90}, keys{0, 60, 120};
  const matrix both = attention(in.Q, in.K, in.V, d, segments{at, keys});
  for (index s = 0; s < 2; ++s) {
    const auto q = in.Q.middleRows(45 * s, 45), k = in.K.middleRows(60 * s, 60);
    const Eigen::MatrixXd wanted =
        expected(attention_weights(q, k), in.V.middleRows(60 * s, 60), d, 0, s);
    EXPECT_LE((both.middleRows(45 * s, 45).cast<double>() - wanted).cwiseAbs().maxCoeff(), 4e-6);
  }
}

TEST(Dropout, DropsItsShareAndKeepsTheMean) {
  const index n = 200, m = 1000;
  const matrix Q = matrix::Zero(n, 4), K = matrix::Zero(m, 4), V = matrix::Ones(m, 1);
  for (const double p : {0.1, 0.5, 0.9}) {
    const matrix O = attention(Q, K, V, dropout{.probability = p, .seed = 5});
    const double mean = O.cast<double>().mean();
    const double deviation = std::sqrt(p / (1 - p) / double(n * m));
    EXPECT_LE(std::abs(mean - 1), 5 * deviation) << p;
  }
  EXPECT_TRUE(bitwise_equal(attention(Q, K, V, dropout{}), attention(Q, K, V)));
}

TEST(Dropout, WhatIsDroppedTouchesNothing) {
  auto in = random_problem<float>({.queries = 40, .keys = 60, .features = 8, .values = 6},
                                  softlook_test::seed(973));
  in.V(17, 3) = std::numeric_limits<float>::quiet_NaN();
  const dropout d{.probability = 0.5, .seed = 3};
  for (const kernel by : {kernel::tiled, kernel::few_queries, kernel::naive}) {
    const matrix O = attention(in.Q, in.K, in.V, d, options{.kernel = by});
    for (index i = 0; i < 40; ++i)
      EXPECT_EQ(std::isnan(O(i, 3)), !dropped(d, 0, 0, i, 17)) << i << ' ' << name_of(by);
    EXPECT_TRUE(all_finite(O.leftCols(3)));
  }
}

TEST(Dropout, OfARowWithoutWeightsLeavesNoNumber) {
  const dropout d{.probability = 0.9, .seed = 3};
  for (const index n : {1, 40}) {
    auto in = random_problem<float>({.queries = n, .keys = 1, .features = 8, .values = 5},
                                    softlook_test::seed(977));
    in.Q(0, 2) = std::numeric_limits<float>::quiet_NaN();
    for (const kernel by : {kernel::tiled, kernel::few_queries, kernel::naive}) {
      const matrix O = attention(in.Q, in.K, in.V, d, options{.kernel = by});
      for (index x = 0; x < 5; ++x) EXPECT_TRUE(std::isnan(O(0, x))) << name_of(by);
      EXPECT_TRUE(all_finite(O.bottomRows(n - 1))) << name_of(by);
    }
  }
}

TEST(Dropout, RefusesWhatIsNoProbability) {
  const matrix X = matrix::Zero(2, 2);
  for (const double p : {-0.1, 1.0, 1.5, double(std::numeric_limits<float>::quiet_NaN())})
    expect_error<argument_error>([&] { (void)attention(X, X, X, dropout{.probability = p}); },
                                 {"dropout.probability"});
}

}  // namespace
}  // namespace softlook::dropout_test
