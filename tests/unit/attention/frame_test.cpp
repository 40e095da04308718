// Pieces of a problem, told where they stand, give the rows and states of the whole.
#include "tests/support/kernels.hpp"
//
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "softlook/attention.hpp"
#include "softlook/mask/dilated.hpp"
#include "softlook/mask/global_tokens.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::frame_test {
namespace {

using softlook_test::all_finite;
using softlook_test::bitwise_equal;
using softlook_test::expect_error;
using softlook_test::random_problem;
using softlook_test::row_major;

/// Depends on every position that a policy is told.
struct seen_positions {
  template <class S>
  S operator()(S s, std::int32_t i, std::int32_t j, std::int32_t) const {
    return s + S(0.01) * S(i) - S(0.02) * S(j);
  }
};

class Frame : public ::testing::TestWithParam<kernel> {
 protected:
  const softlook_test::problem_inputs<float> in = random_problem<float>(
      {.queries = 150, .keys = 230, .features = 24, .values = 20}, softlook_test::seed(911));
  const softlook::options opts{.kernel = GetParam()};
};

TEST_P(Frame, OfQueriesGivesTheRowsOfTheWhole) {
  const auto f = transforms::map(seen_positions{});
  const auto whole = attention(in.Q, in.K, in.V, masks::causal_bottom_right{}, f, opts);
  ASSERT_TRUE(all_finite(whole));
  for (const index first : {0, 1, 96, 149})
    for (const index count : {index{1}, 150 - first}) {
      const frame at{.first_query = first, .queries = 150};
      const auto piece = attention(in.Q.middleRows(first, count), in.K, in.V,
                                   masks::causal_bottom_right{}, f, at, opts);
      if (GetParam() == kernel::naive)
        EXPECT_LE((piece - whole.middleRows(first, count)).cwiseAbs().maxCoeff(), 1e-5F);
      else
        EXPECT_TRUE(bitwise_equal(piece, whole.middleRows(first, count))) << first << ' ' << count;
    }
}

TEST_P(Frame, OfAListOfPositionsGivesThoseRowsUnderJoinedMasks) {
  const auto mask =
      (masks::dilated_window{.left = 2, .right = 1, .dilation = 17} | masks::global_tokens{2, 77}) &
      masks::window{.left = 60};
  const auto whole = attention(in.Q, in.K, in.V, mask, opts);
  const std::vector<std::int32_t> rows{149, 3, 77, 0, 78, 148, 5, 21, 22, 23, 24, 100, 2};
  row_major<float> Q(index(rows.size()), in.Q.cols());
  for (index i = 0; i < Q.rows(); ++i) Q.row(i) = in.Q.row(rows[std::size_t(i)]);
  const auto some =
      attention(Q, in.K, in.V, mask, frame{.queries = 150, .query_positions = rows}, opts);
  for (index i = 0; i < Q.rows(); ++i) {
    const auto row = whole.row(rows[std::size_t(i)]);
    if (GetParam() == kernel::naive)
      EXPECT_LE((some.row(i) - row).cwiseAbs().maxCoeff(), 1e-5F) << i;
    else
      EXPECT_TRUE(bitwise_equal(some.row(i), row)) << i;
  }
}

TEST_P(Frame, OfAListOfPositionsGivesThoseRows) {
  const auto f = transforms::map(seen_positions{});
  const masks::window near{.left = 40, .right = 3};
  const auto whole = attention(in.Q, in.K, in.V, near, f, opts);
  const std::vector<std::int32_t> rows{149, 3, 77, 0, 78, 148, 5};
  row_major<float> Q(7, 24);
  for (index i = 0; i < 7; ++i) Q.row(i) = in.Q.row(rows[std::size_t(i)]);
  const auto some =
      attention(Q, in.K, in.V, near, f, frame{.queries = 150, .query_positions = rows}, opts);
  for (index i = 0; i < 7; ++i) {
    const auto row = whole.row(rows[std::size_t(i)]);
    if (GetParam() == kernel::naive)
      EXPECT_LE((some.row(i) - row).cwiseAbs().maxCoeff(), 1e-5F) << i;
    else
      EXPECT_TRUE(bitwise_equal(some.row(i), row)) << i;
  }
}

TEST_P(Frame, OfKeysGivesStatesThatMergeToTheWhole) {
  const auto f = transforms::map(seen_positions{});
  const masks::causal_bottom_right mask;
  const auto whole = attention_with_log_sum_exp(in.Q, in.K, in.V, mask, f, opts);
  auto all = empty_state<row_major<float>>(150, 20);
  for (const range part : {range{0, 100}, range{100, 101}, range{101, 230}}) {
    const frame at{.first_key = part.begin, .keys = 230};
    all = merge(all, attention_with_log_sum_exp(in.Q, in.K.middleRows(part.begin, part.count()),
                                                in.V.middleRows(part.begin, part.count()), mask, f,
                                                at, opts));
  }
  ASSERT_TRUE(all_finite(all.output));
  EXPECT_LE((all.output - whole.output).cwiseAbs().maxCoeff(), 2e-5F);
  EXPECT_LE((all.log_sum_exp - whole.log_sum_exp).cwiseAbs().maxCoeff(), 2e-5F);
}

/// Every `stride`-th row from `first` on.
row_major<float> stripe(const row_major<float>& X, index first, index stride) {
  row_major<float> rows((X.rows() - first + stride - 1) / stride, X.cols());
  for (index i = 0; i < rows.rows(); ++i) rows.row(i) = X.row(first + i * stride);
  return rows;
}

TEST_P(Frame, OfStripesOfQueriesGivesThoseRows) {
  const auto f = transforms::map(seen_positions{});
  for (const index stride : {2, 7, 40})
    for (const index first : {index{0}, stride - 1}) {
      const frame at{.first_query = first, .queries = 150, .query_stride = stride};
      const auto expect_rows = [&](const row_major<float>& some, const row_major<float>& whole) {
        const row_major<float> rows = stripe(whole, first, stride);
        if (GetParam() == kernel::naive)
          EXPECT_LE((some - rows).cwiseAbs().maxCoeff(), 1e-5F);
        else
          EXPECT_TRUE(bitwise_equal(some, rows)) << first << ' ' << stride;
      };
      const row_major<float> Q = stripe(in.Q, first, stride);
      const masks::causal_bottom_right causal;
      expect_rows(attention(Q, in.K, in.V, causal, f, at, opts),
                  attention(in.Q, in.K, in.V, causal, f, opts));
      const auto joined = masks::window{.left = 40, .right = 3} | masks::global_tokens{2, 77};
      expect_rows(attention(Q, in.K, in.V, joined, at, opts),
                  attention(in.Q, in.K, in.V, joined, opts));
      const dropout d{.probability = 0.3, .seed = 5};
      expect_rows(attention(Q, in.K, in.V, causal, d, at, opts),
                  attention(in.Q, in.K, in.V, causal, d, opts));
    }
}

TEST_P(Frame, OfStripesOfKeysGivesStatesThatMergeToTheWhole) {
  const auto f = transforms::map(seen_positions{});
  const softlook_test::row_major<float> B = row_major<float>::Random(150, 230);
  for (const index stride : {2, 3, 50}) {
    const auto expect_whole = [&](const auto& whole, const auto&... policies) {
      auto all = empty_state<row_major<float>>(150, 20);
      for (index first = 0; first < stride; ++first)
        all = merge(all,
                    attention_with_log_sum_exp(
                        in.Q, stripe(in.K, first, stride), stripe(in.V, first, stride), opts,
                        frame{.first_key = first, .keys = 230, .key_stride = stride}, policies...));
      ASSERT_TRUE(all_finite(all.output));
      EXPECT_LE((all.output - whole.output).cwiseAbs().maxCoeff(), 2e-5F);
      EXPECT_LE((all.log_sum_exp - whole.log_sum_exp).cwiseAbs().maxCoeff(), 2e-5F);
    };
    const masks::causal_bottom_right causal;
    expect_whole(attention_with_log_sum_exp(in.Q, in.K, in.V, causal, f, opts), causal, f);
    const transforms::bias bias(B);
    const masks::window near{.left = 60, .right = 90};
    expect_whole(attention_with_log_sum_exp(in.Q, in.K, in.V, near, bias, opts), near, bias);
    const dropout d{.probability = 0.3, .seed = 5};
    expect_whole(attention_with_log_sum_exp(in.Q, in.K, in.V, d, opts), d);
  }
}

TEST_P(Frame, ServesEveryHead) {
  const heads two{.query = 2};
  const auto whole = attention(in.Q, in.K, in.V, two, masks::causal_bottom_right{}, opts);
  const auto piece = attention(in.Q.bottomRows(30), in.K, in.V, two, masks::causal_bottom_right{},
                               frame{.first_query = 120}, opts);
  if (GetParam() == kernel::naive)
    EXPECT_LE((piece - whole.bottomRows(30)).cwiseAbs().maxCoeff(), 1e-5F);
  else
    EXPECT_TRUE(bitwise_equal(piece, whole.bottomRows(30)));
}

INSTANTIATE_TEST_SUITE_P(Kernels, Frame,
                         ::testing::Values(kernel::naive, kernel::tiled, kernel::few_queries));

TEST(FrameOfACall, GivesMatricesOfPoliciesTheSizeOfTheWhole) {
  const auto in = random_problem<float>({.queries = 20, .keys = 30, .features = 4, .values = 3},
                                        softlook_test::seed(912));
  auto random = softlook_test::seed(913);
  const auto B = softlook_test::random_matrix<row_major<float>>(20, 30, random);
  const auto whole = attention_weights(in.Q, in.K, transforms::bias{B});
  const frame at{.first_query = 5, .queries = 20};
  const auto piece = attention_weights(in.Q.middleRows(5, 9), in.K, transforms::bias{B}, at);
  ASSERT_TRUE(all_finite(piece));
  EXPECT_LE((piece - whole.middleRows(5, 9)).cwiseAbs().maxCoeff(), 1e-6F);
  expect_error<shape_error>(
      [&] { (void)attention_weights(in.Q.middleRows(5, 9), in.K, transforms::bias{B}); },
      {"is 20 but Q.rows() is 9"});
}

TEST(FrameOfACall, NamesWhatDoesNotFit) {
  const auto in = random_problem<float>({.queries = 4, .keys = 6, .features = 2, .values = 2},
                                        softlook_test::seed(914));
  const auto call = [&](const frame& at) {
    return [&in, at] { (void)attention(in.Q, in.K, in.V, at); };
  };
  expect_error<argument_error>(call({.query_stride = 0}), {"frame.query_stride is 0"});
  expect_error<argument_error>(call({.key_stride = -2}), {"frame.key_stride is -2"});
  expect_error<argument_error>(call({.queries = 9, .query_stride = 3}),
                               {"frame.queries is 9", "the rows of the call end at 10"});
  expect_error<argument_error>(call({.first_query = -1}), {"attention: frame.first_query is -1"});
  expect_error<argument_error>(call({.first_query = 3, .queries = 6}),
                               {"frame.queries is 6", "the rows of the call end at 7"});
  expect_error<argument_error>(call({.first_key = -2}), {"frame.first_key is -2"});
  constexpr index most = std::numeric_limits<index>::max();  // whose end no index holds
  expect_error<argument_error>(call({.first_query = most}), {"frame.first_query", "32-bit"});
  expect_error<argument_error>(call({.first_key = most}), {"frame.first_key", "32-bit"});
  expect_error<argument_error>(call({.first_key = 1, .keys = 6}),
                               {"frame.keys is 6", "the rows of the call end at 7"});
  const std::vector<std::int32_t> three{0, 1, 2}, negative{0, 1, -5, 2}, late{0, 9, 1, 2};
  expect_error<shape_error>(call({.query_positions = three}),
                            {"frame.query_positions.size() is 3 but Q.rows() is 4"});
  expect_error<argument_error>(call({.query_positions = negative}),
                               {"frame.query_positions is -5"});
  expect_error<argument_error>(call({.queries = 9, .query_positions = late}),
                               {"frame.queries is 9"});
  expect_error<argument_error>(call({.first_key = std::numeric_limits<std::int32_t>::max()}),
                               {"frame.keys"});
}

}  // namespace
}  // namespace softlook::frame_test
