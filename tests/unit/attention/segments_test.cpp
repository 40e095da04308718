// Sequences in one call: each gets what a call of its own gives.
#include "tests/support/kernels.hpp"
//
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "softlook/attention.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::segments_test {
namespace {

using softlook_test::all_finite;
using softlook_test::bitwise_equal;
using softlook_test::expect_error;
using softlook_test::random_problem;
using matrix = softlook_test::row_major<float>;
using offsets = std::vector<std::int32_t>;

/// Depends on all that a policy is told.
struct told {
  template <class S>
  S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    return s + S(0.01) * S(i - j) + S(0.1) * S(p.head) - S(0.2) * S(p.sequence) +
           S(0.001) * S(p.queries - p.keys);
  }
  using policy_kind = transform_kind;
};
/// The same of one sequence.
struct told_as {
  std::int32_t sequence;
  template <class S>
  S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    p.sequence = sequence;
    return told{}(s, i, j, p);
  }
  using policy_kind = transform_kind;
};

class Segments : public ::testing::Test {
 protected:
  const offsets queries{0, 1, 1, 8, 120, 125, 300}, keys{0, 300, 310, 310, 470, 900, 1000};
  const softlook_test::problem_inputs<float> in = random_problem<float>(
      {.queries = 300, .keys = 1000, .features = 32, .values = 24}, softlook_test::seed(951));
  const matrix Q = [this] {
    matrix all(300, 64);
    all << in.Q, -in.Q;
    return all;
  }();
  const heads h{.query = 4, .kv = 2};

  template <class... Ps>
  void expect_sequences(const attention_state<matrix, matrix>& all, const Ps&... ps) const {
    ASSERT_TRUE(all_finite(all.output));
    for (std::size_t s = 0; s + 1 < queries.size(); ++s) {
      const index i = queries[s], n = queries[s + 1] - i, j = keys[s], m = keys[s + 1] - j;
      const auto one =
          attention_with_log_sum_exp(Q.middleRows(i, n), in.K.middleRows(j, m),
                                     in.V.middleRows(j, m), h, told_as{std::int32_t(s)}, ps...);
      EXPECT_TRUE(bitwise_equal(matrix(all.output.middleRows(i, n)), one.output)) << s;
      EXPECT_TRUE(bitwise_equal(matrix(all.log_sum_exp.middleRows(i, n)), one.log_sum_exp)) << s;
    }
  }
};

TEST_F(Segments, GiveEachSequenceItsOwnBits) {
  const masks::causal_bottom_right mask;
  const auto all =
      attention_with_log_sum_exp(Q, in.K, in.V, h, segments{queries, keys}, mask, told{});
  expect_sequences(all, mask);
}

TEST_F(Segments, OnAnyNumberOfThreads) {
  const auto one = attention(Q, in.K, in.V, h, segments{queries, keys}, told{});
  for (const index workers : {2, 3, 5}) {
    const exec::thread_pool pool(workers);
    EXPECT_TRUE(
        bitwise_equal(attention(Q, in.K, in.V, h, segments{queries, keys}, told{}, pool), one));
  }
}

TEST_F(Segments, ByEveryKernel) {
  for (const kernel by : {kernel::tiled, kernel::few_queries, kernel::naive}) {
    const options opts{.kernel = by};
    const auto all =
        attention_with_log_sum_exp(Q, in.K, in.V, h, segments{queries, keys}, told{}, opts);
    expect_sequences(all, opts);
  }
}

TEST_F(Segments, WithSinks) {
  const Eigen::VectorXd logits = Eigen::VectorXd::LinSpaced(4, -1, 2);
  const auto all =
      attention_with_log_sum_exp(Q, in.K, in.V, h, segments{queries, keys}, told{}, sinks(logits));
  expect_sequences(all, sinks(logits));
}

TEST_F(Segments, WithScoresThatProject) {
  const matrix W = in.K.topRows(16).leftCols(16);
  const Eigen::RowVectorXf v = in.V.row(0).head(16);
  const auto all = attention_with_log_sum_exp(Q, in.K, in.V, h, segments{queries, keys}, told{},
                                              scores::additive{W, W, v});
  expect_sequences(all, scores::additive{W, W, v});
}

TEST_F(Segments, ManyShortOnes) {
  offsets ends;
  for (std::int32_t s = 0; s <= 300; ++s) ends.push_back(s);
  offsets key_ends = ends;
  key_ends.back() = 1000;
  const exec::thread_pool pool(2);
  const matrix all = attention(Q, in.K, in.V, h, segments{ends, key_ends}, pool);
  for (const index s : {0, 150, 298}) {
    const matrix one =
        attention(Q.middleRows(s, 1), in.K.middleRows(s, 1), in.V.middleRows(s, 1), h);
    EXPECT_TRUE(bitwise_equal(matrix(all.middleRows(s, 1)), one)) << s;
  }
}

TEST_F(Segments, PaddedSequencesStopAtTheirLengths) {
  const offsets n{60, 0, 100}, m{250, 10, 0};
  const auto q = Q, k = in.K.topRows(750).eval(), v = in.V.topRows(750).eval();
  const auto all =
      attention_with_log_sum_exp(q, k, v, h, padded_batch{3, n, m}, masks::causal_top_left{});
  for (index s = 0; s < 3; ++s) {
    const index used = n[std::size_t(s)];
    const auto one = attention_with_log_sum_exp(
        q.middleRows(100 * s, used), k.middleRows(250 * s, m[std::size_t(s)]),
        v.middleRows(250 * s, m[std::size_t(s)]), h, masks::causal_top_left{});
    EXPECT_TRUE(bitwise_equal(matrix(all.output.middleRows(100 * s, used)), one.output)) << s;
    const auto behind = all.output.middleRows(100 * s + used, 100 - used);
    EXPECT_TRUE((behind.array() == 0).all());
    EXPECT_TRUE((all.log_sum_exp.middleRows(100 * s + used, 100 - used).array() ==
                 -std::numeric_limits<float>::infinity())
                    .all());
  }
}

TEST_F(Segments, RefuseOffsetsThatDoNotFit) {
  matrix O = matrix::Constant(300, 48, 7);
  const auto call = [&](const auto& where) { attention_into(Q, in.K, in.V, O, h, where); };
  const offsets falls{0, 200, 100, 300}, late{1, 300}, early{0, 299}, none, more{0, 5, 300};
  expect_error<shape_error>([&] { call(segments{falls, falls}); }, {"100", "200"});
  expect_error<argument_error>([&] { call(segments{late, keys}); }, {"1", "0"});
  expect_error<shape_error>([&] { call(segments{early, keys}); }, {"299", "300"});
  expect_error<argument_error>([&] { call(segments{none, keys}); }, {"segments.queries"});
  expect_error<shape_error>([&] { call(segments{queries}); }, {"300", "1000"});
  expect_error<shape_error>([&] { call(segments{more, keys}); }, {"3", "7"});
  expect_error<argument_error>([&] { call(padded_batch{0}); }, {"0"});
  expect_error<shape_error>([&] { call(padded_batch{7}); }, {"300", "7"});
  const offsets lengths{1, 2}, too_long{151, 2}, negative{-1, 2};
  expect_error<shape_error>([&] { call(padded_batch{4, lengths}); }, {"2", "4"});
  expect_error<argument_error>([&] { call(padded_batch{2, too_long}); }, {"151", "150"});
  expect_error<argument_error>([&] { call(padded_batch{2, {}, negative}); }, {"-1", "500"});
  EXPECT_TRUE((O.array() == 7).all());
  // A mask is checked for each sequence.
  expect_error<argument_error>(
      [&] {
        attention_into(Q, in.K, in.V, O, h, segments{queries, keys}, masks::padding{.length = 200});
      },
      {"200", "10"});
  EXPECT_TRUE((O.array() == 7).all());
}

}  // namespace
}  // namespace softlook::segments_test
