// Weights that are streamed are those of the matrix, whatever is made of them.
#include "tests/support/kernels.hpp"
//
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "softlook/attention.hpp"
#include "softlook/attention/weights.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "tests/oracle/attention.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::weights_test {
namespace {

using softlook_test::all_finite;
using softlook_test::bitwise_equal;
using softlook_test::expect_error;
using softlook_test::random_problem;
using matrix = softlook_test::row_major<float>;

/// All that the header gives, of two heads of a problem, against an oracle.
template <class... Ps>
void expect_exact(index n, index m, const Ps&... ps) {
  const auto first = random_problem<float>(
      {.queries = n, .keys = m, .features = 16, .magnitude = 2}, softlook_test::seed(961));
  const auto second =
      random_problem<float>({.queries = n, .keys = m, .features = 16}, softlook_test::seed(962));
  matrix Q(n, 32), K(m, 32);
  Q << first.Q, second.Q;
  K << first.K, second.K;
  const heads two{.query = 2};
  const oracle::matrix truth[] = {
      oracle::attention(first.Q, first.K, first.K, ps..., oracle::for_head{0}).weights,
      oracle::attention(second.Q, second.K, second.K, ps..., oracle::for_head{1}).weights};
  const double close = 4e-6;
  const auto error = [](const auto& is, const auto& wanted) {
    EXPECT_TRUE(all_finite(is));
    return softlook_test::max_error(is, wanted);
  };

  std::vector<matrix> seen(2, matrix::Zero(n, m));
  for_each_weights(
      Q, K,
      [&](const matrix_view<float>& P, index i, index j, index head) {
        for (index r = 0; r < P.rows; ++r)
          for (index c = 0; c < P.cols; ++c) {
            float& at = seen[std::size_t(head)](i + r, j + c);
            EXPECT_EQ(at, 0.0F) << "a pair came twice";
            at = P(r, c);
          }
      },
      two, ps...);
  const auto H = weight_entropies(Q, K, two, ps...);
  const auto sums = key_weight_sums(Q, K, two, ps...);
  const index most = std::min<index>(m, 6);
  const auto top = strongest_weights(Q, K, most + 1, two, ps...);
  const std::vector<index> rows{n - 1, 0, n / 2},
      columns{0, m / 2, std::min(m / 2 + 1, m - 1), m - 1};
  const auto of_rows = weights_of_queries(Q, K, rows, two, ps...);
  const auto of_columns = weights_of_keys(Q, K, columns, two, ps...);
  const index high = std::min<index>(n, 3), wide = std::min<index>(m, 5);
  const auto pixels = weight_pixels(Q, K, high, wide, two, ps...);
  for (std::size_t h = 0; h < 2; ++h) {
    const oracle::matrix& P = truth[h];
    EXPECT_LE(error(seen[h], P), close);
    for (index i = 0; i < n; ++i) {
      oracle::real entropy = 0;
      std::vector<oracle::real> row;
      for (index j = 0; j < m; ++j) {
        row.push_back(P(i, j));
        if (P(i, j) > 0) entropy -= P(i, j) * std::log(P(i, j));
      }
      ASSERT_TRUE(std::isfinite(H(i, index(h))));
      EXPECT_LE(std::abs(double(H(i, index(h)) - entropy)), 2e-5) << i;
      std::sort(row.rbegin(), row.rend());
      for (index k = 0; k < most + 1; ++k) {
        const float w = top[h].weights(i, k);
        const std::int32_t key = top[h].keys(i, k);
        const oracle::real wanted = k < m ? row[std::size_t(k)] : 0;
        EXPECT_LE(std::abs(double(w - wanted)), close) << i << ' ' << k;
        if (key >= 0)
          EXPECT_EQ(w, seen[h](i, key));
        else
          EXPECT_EQ(w, 0.0F);
      }
    }
    EXPECT_LE(error(matrix(sums.col(index(h)).transpose()), P.colwise().sum()), close * double(n));
    for (std::size_t r = 0; r < rows.size(); ++r)
      EXPECT_TRUE(bitwise_equal(of_rows[h].row(index(r)), seen[h].row(rows[r])));
    for (std::size_t c = 0; c < columns.size(); ++c)
      EXPECT_TRUE(bitwise_equal(of_columns[h].col(index(c)), seen[h].col(columns[c])));
    for (index r = 0; r < high; ++r)
      for (index c = 0; c < wide; ++c) {
        const index i = n * r / high, j = m * c / wide;
        const auto block = P.block(i, j, n * (r + 1) / high - i, m * (c + 1) / wide - j);
        EXPECT_LE(std::abs(double(pixels[h](r, c) - block.mean())), close);
      }
  }
}

TEST(Weights, StreamedAreExact) {
  for (const index n : {1, 50, 130})
    for (const index m : {1, 9, 300}) {
      SCOPED_TRACE(std::to_string(n) + " x " + std::to_string(m));
      expect_exact(n, m);
      expect_exact(n, m, masks::causal_bottom_right{});
    }
}

TEST(Weights, OfMaskedAndTransformedScores) {
  expect_exact(100, 120, masks::window{.left = 9, .right = 2}, transforms::soft_cap{2.0});
  expect_exact(100, 120, masks::causal{.offset = -20}, transforms::alibi{0.2});
  for (const instruction_set isa : available_instruction_sets())
    expect_exact(100, 120, masks::causal_top_left{}, softlook::options{.isa = isa});
}

TEST(Weights, OfAdditiveScores) {
  const auto in =
      random_problem<float>({.queries = 60, .keys = 70, .features = 12}, softlook_test::seed(963));
  const matrix W = in.K.topRows(12);
  const Eigen::RowVectorXf v = in.Q.row(0);
  const scores::additive score{W, W, v};
  const matrix P = attention_weights(in.Q, in.K, score, masks::causal_top_left{});
  const std::vector<index> all_rows{5, 59};
  const matrix rows = weights_of_queries(in.Q, in.K, all_rows, score, masks::causal_top_left{});
  EXPECT_LE((rows.row(0) - P.row(5)).cwiseAbs().maxCoeff(), 2e-6F);
  EXPECT_LE((rows.row(1) - P.row(59)).cwiseAbs().maxCoeff(), 2e-6F);
}

TEST(Weights, BesideSinks) {
  const auto in =
      random_problem<float>({.queries = 60, .keys = 70, .features = 12}, softlook_test::seed(966));
  const std::vector<index> rows{0, 30, 59};
  for (const double logit : {-3.0, 0.5, 40.0}) {
    const Eigen::VectorXd s = Eigen::VectorXd::Constant(1, logit);
    const matrix P = attention_weights(in.Q, in.K, masks::causal{.offset = -1}, sinks(s));
    const matrix some = weights_of_queries(in.Q, in.K, rows, masks::causal{.offset = -1}, sinks(s));
    ASSERT_TRUE(all_finite(some));
    for (index r = 0; r < 3; ++r)
      EXPECT_LE((some.row(r) - P.row(rows[std::size_t(r)])).cwiseAbs().maxCoeff(), 2e-6F);
  }
}

TEST(Weights, DoNotDependOnThreads) {
  const auto in = random_problem<float>({.queries = 700, .keys = 2000, .features = 8},
                                        softlook_test::seed(964));
  const exec::thread_pool pool(3);
  EXPECT_TRUE(bitwise_equal(key_weight_sums(in.Q, in.K, pool), key_weight_sums(in.Q, in.K)));
  EXPECT_TRUE(bitwise_equal(weight_entropies(in.Q, in.K, pool), weight_entropies(in.Q, in.K)));
  EXPECT_TRUE(
      bitwise_equal(weight_pixels(in.Q, in.K, 7, 9, pool), weight_pixels(in.Q, in.K, 7, 9)));
  const auto a = strongest_weights(in.Q, in.K, 5, pool), b = strongest_weights(in.Q, in.K, 5);
  EXPECT_TRUE((a.keys.array() == b.keys.array()).all());
  EXPECT_TRUE(bitwise_equal(a.weights, b.weights));
}

TEST(Weights, ZoomIsThePartOfThePicture) {
  const auto in =
      random_problem<float>({.queries = 90, .keys = 80, .features = 8}, softlook_test::seed(965));
  const matrix P = attention_weights(in.Q, in.K, masks::causal_top_left{});
  const matrix part =
      weight_pixels(in.Q, in.K, 10, 12, range{30, 40}, range{20, 32}, masks::causal_top_left{});
  EXPECT_LE((part - P.block(30, 20, 10, 12)).cwiseAbs().maxCoeff(), 2e-6F);
}

TEST(Weights, EqualOnesKeepTheOrderOfTheirKeys) {
  const matrix Q = matrix::Zero(3, 4), K = matrix::Ones(200, 4);
  const auto top = strongest_weights(Q, K, 4);
  for (index i = 0; i < 3; ++i)
    for (index k = 0; k < 4; ++k) EXPECT_EQ(top.keys(i, k), k);
  const auto none = strongest_weights(Q, K.topRows(0), 2);
  EXPECT_TRUE((none.keys.array() == -1).all());
}

TEST(Weights, RefuseWhatIsNotThere) {
  const matrix Q = matrix::Zero(3, 4), K = matrix::Zero(5, 4);
  const std::vector<index> beyond{3}, negative{-1};
  expect_error<argument_error>([&] { (void)weights_of_queries(Q, K, beyond); }, {"3", "2"});
  expect_error<argument_error>([&] { (void)weights_of_keys(Q, K, negative); }, {"-1", "4"});
  expect_error<argument_error>([&] { (void)strongest_weights(Q, K, -1); }, {"-1"});
  expect_error<argument_error>([&] { (void)weight_pixels(Q, K, 4, 2); }, {"rows", "4", "3"});
  expect_error<argument_error>([&] { (void)weight_pixels(Q, K, 1, 0); }, {"cols", "0"});
  expect_error<argument_error>([&] { (void)weight_pixels(Q, K, 1, 1, range{0, 4}, range{0, 5}); },
                               {"4", "3"});
  expect_error<shape_error>([&] { (void)key_weight_sums(Q, K.leftCols(3)); }, {"3", "4"});
}

}  // namespace
}  // namespace softlook::weights_test
