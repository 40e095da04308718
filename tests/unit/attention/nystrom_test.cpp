#include "tests/support/kernels.hpp"
// kernels.hpp first: it keeps the kernels from being compiled here.
#include "softlook/attention/nystrom.hpp"

#include <gtest/gtest.h>

#include "softlook/exec/thread_pool.hpp"
#include "tests/oracle/attention.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"
#include "tests/support/storage.hpp"

namespace softlook::nystrom_test {
namespace {

using oracle::matrix;
using oracle::real;
using softlook_test::all_finite;
using softlook_test::bitwise_equal;
using softlook_test::col_major;
using softlook_test::expect_error;
using softlook_test::max_error;
using softlook_test::max_magnitude;
using softlook_test::problem_inputs;
using softlook_test::random_problem;
using softlook_test::row_major;

matrix product(const matrix& A, const matrix& B) {
  matrix C = matrix::Zero(A.rows(), B.cols());
  for (index i = 0; i < A.rows(); ++i)
    for (index k = 0; k < A.cols(); ++k)
      for (index j = 0; j < B.cols(); ++j) C(i, j) += A(i, k) * B(k, j);
  return C;
}

matrix segment_means(const matrix& X, index count) {
  matrix means = matrix::Zero(count, X.cols());
  for (index s = 0; s < count; ++s) {
    const index begin = s * X.rows() / count, end = (s + 1) * X.rows() / count;
    for (index c = 0; c < X.cols(); ++c) {
      for (index i = begin; i < end; ++i) means(s, c) += X(i, c);
      means(s, c) /= real(end - begin);
    }
  }
  return means;
}

/// Eq. (11) with the start that the paper names below it.
matrix iterated_inverse(const matrix& A, index iterations) {
  real rows = 0, columns = 0;
  for (index i = 0; i < A.rows(); ++i) {
    rows = std::max(rows, real(A.row(i).cwiseAbs().sum()));
    columns = std::max(columns, real(A.col(i).cwiseAbs().sum()));
  }
  matrix Z = A.transpose() / (rows * columns);
  const matrix I = matrix::Identity(A.rows(), A.cols());
  for (index k = 0; k < iterations; ++k) {
    const matrix AZ = product(A, Z);
    Z = product(Z, 13 * I - product(AZ, 15 * I - product(AZ, 7 * I - AZ))) / 4;
  }
  return Z;
}

struct nystrom_truth {
  matrix output;
  double inverse_size = 0;  ///< the largest row sum of |Z|
  double scores = 0;
};

template <class In, class... Policies>
nystrom_truth truth_of(const In& in, const nystrom& how, const Policies&... policies) {
  const matrix Q = oracle::widen(in.Q), K = oracle::widen(in.K), V = oracle::widen(in.V);
  const index L = std::min({how.landmarks, Q.rows(), K.rows()});
  const matrix q = segment_means(Q, L), k = segment_means(K, L);
  const auto left = oracle::attention(Q, k, k, policies...);
  const auto middle = oracle::attention(q, k, k, policies...);
  const auto right = oracle::attention(q, K, V, policies...);
  const matrix Z = iterated_inverse(middle.weights, how.iterations);
  return {product(left.weights, product(Z, right.output)),
          double(Z.cwiseAbs().rowwise().sum().maxCoeff()),
          std::max({max_magnitude(left.raw), max_magnitude(middle.raw), max_magnitude(right.raw)})};
}

/// Weights are off by the error of their scores. An error of A or of a step reaches Z between two
/// factors Z (dZ = −Z dA Z), and the last steps of the iteration add one each.
template <class T>
double nystrom_bound(const nystrom_truth& truth, double landmarks, double features, double keys,
                     double values) {
  const double weights = softlook_test::attention_bound<T>(keys, 2 * features, truth.scores, 1);
  const double steps = softlook_test::linear_bound<T>(landmarks, 4 * 32);
  const double Z = 1 + truth.inverse_size;
  return (weights + steps) * Z * Z * values;
}

template <class T>
class Nystrom : public ::testing::Test {};
using softlook_test::scalars;
TYPED_TEST_SUITE(Nystrom, scalars);

TYPED_TEST(Nystrom, AgreesWithThePaperForEveryInstructionSet) {
  using T = TypeParam;
  struct sizes {
    index n, m, d, e, landmarks;
  };
  for (const sizes& s : {sizes{1, 1, 1, 1, 1}, sizes{5, 7, 3, 2, 3}, sizes{100, 100, 8, 5, 10},
                         sizes{131, 67, 8, 16, 16}, sizes{64, 300, 16, 9, 13}}) {
    const auto in = random_problem<T>({.queries = s.n, .keys = s.m, .features = s.d, .values = s.e},
                                      softlook_test::seed(31));
    const nystrom how{.landmarks = s.landmarks};
    const auto truth = truth_of(in, how);
    const double bound =
        nystrom_bound<T>(truth, double(s.landmarks), double(s.d), double(s.m), max_magnitude(in.V));
    for (const instruction_set isa : available_instruction_sets())
      EXPECT_LE(
          max_error(nystrom_attention(in.Q, in.K, in.V, how, options{.isa = isa}), truth.output),
          bound)
          << name_of(isa) << " n " << s.n << " m " << s.m << " landmarks " << s.landmarks;
  }
}

TYPED_TEST(Nystrom, TakesAScaleAndANumberOfIterations) {
  using T = TypeParam;
  const auto in = random_problem<T>({.queries = 40, .keys = 50, .features = 6, .values = 4},
                                    softlook_test::seed(32));
  const options scaled{.scale = 0.3};
  for (index iterations : {0, 1, 3}) {
    const nystrom how{.landmarks = 7, .iterations = iterations};
    const auto truth = truth_of(in, how, scaled);
    EXPECT_LE(max_error(nystrom_attention(in.Q, in.K, in.V, how, scaled), truth.output),
              nystrom_bound<T>(truth, 7, 6, 50, max_magnitude(in.V)));
  }
}

/// A A⁺ = I where A is invertible: then nothing is approximated.
TEST(Nystrom, WithAsManyLandmarksAsTokensIsAttention) {
  const auto in = random_problem<double>(
      {.queries = 12, .keys = 12, .features = 16, .values = 3, .magnitude = 1.5},
      softlook_test::seed(33));
  const nystrom how{.landmarks = 500, .iterations = 40};
  const auto truth = oracle::attention(in.Q, in.K, in.V);
  const double bound = nystrom_bound<double>(truth_of(in, how), 12, 16, 12, max_magnitude(in.V));
  EXPECT_LE(max_error(nystrom_attention(in.Q, in.K, in.V, how), truth.output), bound);
}

TEST(Nystrom, ComesNearerToAttentionWithMoreLandmarks) {
  const auto in = random_problem<double>(
      {.queries = 256, .keys = 256, .features = 4, .values = 8, .magnitude = 0.7},
      softlook_test::seed(34));
  const auto exact = attention(in.Q, in.K, in.V);
  const auto distance = [&](index landmarks) {
    return (nystrom_attention(in.Q, in.K, in.V, {.landmarks = landmarks}) - exact).norm();
  };
  EXPECT_LT(distance(64), distance(8));
  EXPECT_LT(distance(8), exact.norm());
}

TEST(NystromHeads, AreSingleHeadsSideBySide) {
  const auto queries =
      random_problem<float>({.queries = 70, .keys = 1, .features = 12}, softlook_test::seed(35));
  const auto in = random_problem<float>({.queries = 1, .keys = 70, .features = 6, .values = 10},
                                        softlook_test::seed(36));
  auto random = softlook_test::seed(37);
  const auto C = softlook_test::random_matrix<row_major<float>>(4, 5, random);
  const nystrom how{.landmarks = 9};
  const auto O = nystrom_attention(queries.Q, in.K, in.V, how, C, heads{.query = 4, .kv = 2});
  ASSERT_EQ(O.cols(), 20);
  for (index h = 0; h < 4; ++h) {
    const auto alone =
        nystrom_attention(head_columns(queries.Q, h, 4), head_columns(in.K, h / 2, 2),
                          head_columns(in.V, h / 2, 2), {.landmarks = 9}, C.row(h));
    EXPECT_TRUE(bitwise_equal(head_columns(O, h, 4), alone)) << h;
  }
}

TEST(NystromConvolution, AddsWeightedNeighboursOfEachValue) {
  for (index n : {1, 3, 63, 64, 65, 200}) {
    for (index width : {1, 3, 33}) {
      const auto in = random_problem<float>({.queries = n, .keys = n, .features = 4, .values = 7},
                                            softlook_test::seed(38));
      auto random = softlook_test::seed(39);
      const auto C = softlook_test::random_matrix<row_major<float>>(1, width, random);
      const nystrom how{.landmarks = 5};
      auto truth = truth_of(in, how);
      double largest = 0;
      for (index i = 0; i < n; ++i)
        for (index c = 0; c < 7; ++c) {
          real sum = 0, size = 0;
          for (index t = 0; t < width; ++t) {
            const index j = i + t - (width - 1) / 2;
            if (j < 0 || j >= n) continue;
            sum += real(C(0, t)) * real(in.V(j, c));
            size += std::abs(real(C(0, t)) * real(in.V(j, c)));
          }
          truth.output(i, c) += sum;
          largest = std::max(largest, double(size));
        }
      const double bound = nystrom_bound<float>(truth, 5, 4, double(n), max_magnitude(in.V)) +
                           softlook_test::linear_bound<float>(double(width), largest + 1);
      EXPECT_LE(max_error(nystrom_attention(in.Q, in.K, in.V, how, C), truth.output), bound)
          << n << " width " << width;
    }
  }
}

TEST(NystromBits, DoNotDependOnExecutorStorageOrWorkspace) {
  const auto in = random_problem<float>({.queries = 300, .keys = 300, .features = 16, .values = 24},
                                        softlook_test::seed(40));
  auto random = softlook_test::seed(41);
  const auto C = softlook_test::random_matrix<row_major<float>>(2, 7, random);
  const nystrom how{.landmarks = 17};
  const heads two{.query = 2};
  const auto expected = nystrom_attention(in.Q, in.K, in.V, how, C, two);
  workspace kept;
  exec::thread_pool pool(2);
  const softlook_test::round_robin dealt;
  const auto call = [&](const auto&... policies) {
    return nystrom_attention(in.Q, in.K, in.V, how, C, two, policies...);
  };
  EXPECT_TRUE(bitwise_equal(expected, call(pool)));
  EXPECT_TRUE(bitwise_equal(expected, call(dealt)));
  EXPECT_TRUE(bitwise_equal(expected, call(options{.workspace = &kept})));
  EXPECT_TRUE(bitwise_equal(expected, call(options{.workspace = &kept})));
  const col_major<float> Q = in.Q, K = in.K, V = in.V, W = C;
  EXPECT_TRUE(bitwise_equal(expected, nystrom_attention(Q, K, V, how, W, two)));
  softlook_test::strided_copy<float> k(in.K), v(in.V);
  EXPECT_TRUE(bitwise_equal(expected, nystrom_attention(in.Q, k.map(), v.map(), how, C * 1, two)));
}

TEST(NystromInto, WritesABlockAndNothingAroundIt) {
  const auto in = random_problem<float>({.queries = 30, .keys = 30, .features = 4, .values = 3},
                                        softlook_test::seed(42));
  const row_major<float> C = row_major<float>::Ones(1, 3);
  softlook_test::strided_copy<float> out(row_major<float>::Zero(30, 3));
  nystrom_attention_into(in.Q, in.K, in.V, out.map(), {.landmarks = 4}, C);
  EXPECT_TRUE(bitwise_equal(out.map(), nystrom_attention(in.Q, in.K, in.V, {.landmarks = 4}, C)));
  nystrom_attention_into(in.Q, in.K, in.V, out.map(), {.landmarks = 4});
  EXPECT_TRUE(bitwise_equal(out.map(), nystrom_attention(in.Q, in.K, in.V, {.landmarks = 4})));
  EXPECT_TRUE(out.gaps_are_nan());
}

TEST(Nystrom, OfNothingIsDefined) {
  const auto in = random_problem<float>({.queries = 4, .keys = 6, .features = 2, .values = 3},
                                        softlook_test::seed(43));
  const row_major<float> no_queries(0, 2), no_keys(0, 2), no_values(0, 3);
  EXPECT_EQ(nystrom_attention(no_queries, in.K, in.V, {}).rows(), 0);
  EXPECT_TRUE(nystrom_attention(in.Q, no_keys, no_values, {}).isZero(0));
}

TEST(Nystrom, NaNOfAValueReachesItsColumnOnly) {
  auto in = random_problem<float>({.queries = 40, .keys = 40, .features = 2, .values = 3},
                                  softlook_test::seed(44));
  in.V(39, 1) = std::numeric_limits<float>::quiet_NaN();
  const auto O = nystrom_attention(in.Q, in.K, in.V, {.landmarks = 4});
  EXPECT_TRUE(O.col(1).array().isNaN().all());
  EXPECT_TRUE(all_finite(O.col(0)));
  EXPECT_TRUE(all_finite(O.col(2)));
}

TEST(Nystrom, NamesWhatDoesNotFit) {
  const auto in = random_problem<float>({.queries = 4, .keys = 6, .features = 2, .values = 2},
                                        softlook_test::seed(45));
  const auto call = [&](const nystrom& how) {
    return [&in, how] { (void)nystrom_attention(in.Q, in.K, in.V, how); };
  };
  expect_error<argument_error>(call({.landmarks = 0}),
                               {"nystrom_attention: nystrom.landmarks is 0"});
  expect_error<argument_error>(call({.iterations = -1}), {"nystrom.iterations is -1"});
  expect_error<shape_error>(
      [&] { (void)nystrom_attention(in.Q, in.K, in.V, {}, heads{.query = 3}); },
      {"Q.cols() is 2 but heads.query is 3"});
  const row_major<float> even = row_major<float>::Ones(1, 4), odd = row_major<float>::Ones(3, 3);
  const auto convolve = [&](const auto& Q, const auto& C) {
    return [&] { (void)nystrom_attention(Q, in.K, in.V, {}, C); };
  };
  expect_error<argument_error>(convolve(in.K, even), {"C.cols() is 4", "its width is odd"});
  expect_error<shape_error>(convolve(in.K, odd), {"C.rows() is 3 but heads.query is 1"});
  expect_error<shape_error>(convolve(in.Q, odd.topRows(1)), {"V.rows() is 6 but Q.rows() is 4"});
}

TEST(Nystrom, RejectsAnOutputThatOverlapsAnInputOrDoesNotFit) {
  auto in = random_problem<float>({.queries = 3, .keys = 3, .features = 3, .values = 3},
                                  softlook_test::seed(46));
  row_major<float> C = row_major<float>::Ones(3, 3), small(2, 3);
  const auto into = [&](row_major<float>& O) {
    return [&] { nystrom_attention_into(in.Q, in.K, in.V, O, {}, C, heads{.query = 3}); };
  };
  expect_error<argument_error>(into(in.Q), {"nystrom_attention_into: O overlaps Q"});
  expect_error<argument_error>(into(in.K), {"O overlaps K"});
  expect_error<argument_error>(into(in.V), {"O overlaps V"});
  expect_error<argument_error>(into(C), {"O overlaps C"});
  expect_error<shape_error>(into(small), {"O.rows() is 2 but Q.rows() is 3"});
}

}  // namespace
}  // namespace softlook::nystrom_test
