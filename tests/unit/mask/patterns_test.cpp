#include "tests/support/kernels.hpp"
// kernels.hpp first: it keeps the kernels from being compiled here.
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "softlook/layer/multi_head.hpp"
#include "softlook/mask/patterns.hpp"
#include "tests/support/agreement.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/mask_checks.hpp"
#include "tests/support/random.hpp"

namespace softlook::patterns_test {
namespace {

using softlook_test::expect_error;
using softlook_test::row_major;

/// Pairs of every pattern by the words of its paper.
template <class Mask, class Definition>
void expect_defined_by(const Mask& mask, problem size, const Definition& allowed) {
  mask.check("test", size);
  for (std::int32_t i = 0; i < size.queries; ++i)
    for (std::int32_t j = 0; j < size.keys; ++j)
      ASSERT_EQ(mask.allows(i, j, size), allowed(i, j)) << "query " << i << " key " << j;
  softlook_test::expect_lookup_agrees(mask, size);
}

/// Every tile of one problem; small blocks of a large one meet every alignment.
template <class Mask>
void expect_every_tile_is_true(const Mask& mask, problem size) {
  for (index q = 0; q < size.queries; ++q) {
    for (index q_end = q + 1; q_end <= size.queries; q_end += 1 + q % 2) {
      softlook_test::expect_range_holds_every_allowed_key(mask, {q, q_end}, size);
      for (index k = 0; k < size.keys; ++k)
        for (index k_end = k + 1; k_end <= size.keys; k_end += 1 + k % 3)
          softlook_test::expect_true_coverage(mask, {q, q_end}, {k, k_end}, size,
                                              softlook_test::answers::correct);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

const problem small{.queries = 19, .keys = 21};

TEST(StridedPattern, IsTheUnionOfThePapersTwoSets) {
  for (int l : {1, 2, 5, 7, 40})
    expect_defined_by(masks::strided(l), small, [l](int i, int j) {
      const bool local = j >= std::max(0, i - l) && j <= i;
      return local || (j <= i && (i - j) % l == 0);
    });
}

TEST(StridedPattern, GivesEachHeadOneSetByTurns) {
  const auto mask = masks::strided_by_head(5);
  for (std::int32_t head = 0; head < 4; ++head) {
    const problem size{.queries = 19, .keys = 19, .head = head, .heads = 4};
    expect_defined_by(mask, size, [head](int i, int j) {
      return j <= i && (head % 2 == 0 ? j >= i - 5 : (i - j) % 5 == 0);
    });
    expect_every_tile_is_true(mask, {.queries = 11, .keys = 12, .head = head, .heads = 4});
  }
}

TEST(FixedPattern, IsTheUnionOfThePapersTwoSets) {
  for (int l : {1, 4, 6, 40})
    for (int c = 1; c <= std::min(l, 4); ++c)
      expect_defined_by(masks::fixed(l, c), small, [l, c](int i, int j) {
        return j <= i && (j / l == i / l || j % l >= l - c);
      });
}

TEST(FixedPattern, GivesEachHeadOneSetByTurns) {
  const auto mask = masks::fixed_by_head(6, 2);
  for (std::int32_t head = 0; head < 2; ++head) {
    const problem size{.queries = 19, .keys = 19, .head = head, .heads = 2};
    expect_defined_by(mask, size, [head](int i, int j) {
      return j <= i && (head % 2 == 0 ? j / 6 == i / 6 : j % 6 >= 4);
    });
    expect_every_tile_is_true(mask, {.queries = 13, .keys = 12, .head = head, .heads = 2});
  }
}

TEST(LongformerPattern, IsADilatedWindowAndGlobalTokens) {
  for (int w : {0, 2, 6})
    for (int dilation : {1, 3})
      expect_defined_by(masks::longformer({.window = w, .dilation = dilation, .global = {0, 7}}),
                        small, [w, dilation](int i, int j) {
                          const bool global = i == 0 || i == 7 || j == 0 || j == 7;
                          const int far = std::abs(i - j);
                          return global || (far % dilation == 0 && far / dilation <= w / 2);
                        });
}

TEST(Patterns, TilesAgreeWithPairs) {
  expect_every_tile_is_true(masks::strided(4), small);
  expect_every_tile_is_true(masks::fixed(4, 1), small);
  expect_every_tile_is_true(masks::longformer({.window = 4, .dilation = 2, .global = {3}}), small);
  expect_every_tile_is_true(masks::big_bird({.block = 2, .random = 1}, 21), small);
}

TEST(Patterns, TilesAgreeWithPairsWhereTheyAreCombined) {
  const auto bird = masks::big_bird({.block = 3, .global = 1, .random = 1, .seed = 5}, 21);
  expect_every_tile_is_true(bird & masks::causal_top_left{}, small);
  expect_every_tile_is_true(!bird, small);
  expect_every_tile_is_true((!masks::fixed(5, 2)) | masks::global_tokens{2}, small);
  expect_every_tile_is_true((!masks::longformer({.window = 2})) & masks::same_segment{6}, small);
}

std::vector<index> blocks_of_row(const masks::block_sparse& mask, index row, index head = 0) {
  std::vector<index> on;
  for (index c = 0; c < mask.cols(); ++c)
    if (mask.is_on(row, c, head)) on.push_back(c);
  return on;
}

TEST(BigBirdPattern, HasItsWindowItsGlobalBlocksAndItsRandomOnes) {
  const auto mask = masks::big_bird({.block = 4, .window = 3, .global = 2, .random = 3, .seed = 9},
                                    4 * 40 - 1, 2);
  ASSERT_EQ(mask.rows(), 40);
  for (index head = 0; head < 2; ++head) {
    for (index r = 0; r < 40; ++r) {
      const auto on = blocks_of_row(mask, r, head);
      const std::set<index> live(on.begin(), on.end());
      EXPECT_TRUE(live.count(0) && live.count(1));
      for (index c = std::max<index>(r - 1, 0); c <= std::min<index>(r + 1, 39); ++c)
        EXPECT_TRUE(live.count(c)) << r << " " << c;
      const bool interior = r >= 3 && r < 39;
      if (r < 2) {
        EXPECT_EQ(on.size(), 40u);
      } else if (interior) {
        EXPECT_EQ(on.size(), 2u + 3u + 3u) << r;
      }
    }
  }
}

TEST(BigBirdPattern, RandomBlocksDependOnSeedHeadAndRowAlone) {
  const masks::big_bird_pattern pattern{.block = 4, .global = 0, .seed = 9};
  masks::big_bird_pattern other = pattern;
  other.seed = 10;
  const auto a = masks::big_bird(pattern, 400, 2), b = masks::big_bird(pattern, 400);
  const auto c = masks::big_bird(other, 400);
  index rows_of_other_seed = 0, rows_of_other_head = 0;
  for (index r = 0; r < 100; ++r) {
    EXPECT_EQ(blocks_of_row(a, r), blocks_of_row(b, r));
    rows_of_other_seed += blocks_of_row(a, r) != blocks_of_row(c, r) ? 1 : 0;
    rows_of_other_head += blocks_of_row(a, r, 0) != blocks_of_row(a, r, 1) ? 1 : 0;
  }
  EXPECT_GT(rows_of_other_seed, 90);
  EXPECT_GT(rows_of_other_head, 90);
}

/// 4000 draws from about 97 blocks: a block is met 41 times on average, and one that is met fewer
/// than 10 or more than 90 times is 5 standard deviations away.
TEST(BigBirdPattern, RandomBlocksAreSpreadEvenly) {
  const auto mask =
      masks::big_bird({.block = 1, .window = 1, .global = 0, .random = 1, .seed = 1}, 100, 40);
  std::vector<int> met(100);
  for (index head = 0; head < 40; ++head)
    for (index r = 0; r < 100; ++r)
      for (const index c : blocks_of_row(mask, r, head))
        if (c != r) ++met[std::size_t(c)];
  for (const int times : met) {
    EXPECT_GT(times, 10);
    EXPECT_LT(times, 90);
  }
}

TEST(BigBirdPattern, TakesAllBlocksWhereFewAreLeft) {
  const auto mask = masks::big_bird({.block = 4, .global = 9, .random = 9}, 13);
  EXPECT_EQ(mask.rows(), 4);
  EXPECT_EQ(mask.density(), 1);
  const auto narrow = masks::big_bird({.block = 4, .global = 0, .random = 9}, 40);
  EXPECT_EQ(narrow.density(), 1);
  EXPECT_EQ(masks::big_bird({}, 0).rows(), 0);
}

TEST(Patterns, RejectSizesOutOfRange) {
  expect_error<argument_error>([] { (void)masks::strided(0); }, {"masks::strided: stride is 0"});
  expect_error<argument_error>([] { (void)masks::fixed(0, 0); }, {"masks::fixed: stride is 0"});
  expect_error<argument_error>([] { (void)masks::fixed(4, 5); },
                               {"masks::fixed: summaries is 5", "between 1 and the stride"});
  expect_error<argument_error>([] { (void)masks::longformer({.window = 3}); },
                               {"masks::longformer: window is 3", "an even number"});
  expect_error<argument_error>([] { (void)masks::longformer({.window = -2}); },
                               {"masks::longformer: window is -2"});
  expect_error<argument_error>([] { (void)masks::longformer({.dilation = 0}); },
                               {"masks::longformer: dilation is 0"});
  expect_error<argument_error>([] { (void)masks::longformer({.global = {-1}}); },
                               {"masks::global_tokens: position is -1"});
  expect_error<argument_error>([] { (void)masks::big_bird({.block = 0}, 9); },
                               {"masks::big_bird: block is 0"});
  expect_error<argument_error>([] { (void)masks::big_bird({.window = 2}, 9); },
                               {"masks::big_bird: window is 2", "an odd number"});
  expect_error<argument_error>([] { (void)masks::big_bird({.global = -1}, 9); },
                               {"masks::big_bird: global is -1"});
  expect_error<argument_error>([] { (void)masks::big_bird({.random = -1}, 9); },
                               {"masks::big_bird: random is -1"});
  expect_error<argument_error>([] { (void)masks::big_bird({}, -1); },
                               {"masks::big_bird: tokens is -1"});
  expect_error<argument_error>([] { (void)masks::big_bird({}, 9, 0); },
                               {"masks::big_bird: heads is 0"});
}

/// 211 is prime and more than two tiles of keys; every instruction set and kernel.
template <class Mask>
void expect_attention_agrees(const Mask& mask) {
  const auto in = softlook_test::random_problem<float>(
      {.queries = 211, .keys = 211, .features = 8, .values = 5}, softlook_test::seed(21));
  softlook_test::expect_every_way_agrees(in.Q, in.K, in.V, std::nullopt, mask);
}

TEST(Patterns, AttentionUnderBlocksAgreesWithTheOracle) {
  expect_attention_agrees(masks::big_bird({.block = 10, .seed = 2}, 211));
}

TEST(Patterns, AttentionUnderStridesAgreesWithTheOracle) {
  expect_attention_agrees(masks::strided(31));
}

TEST(Patterns, AttentionUnderFixedColumnsAgreesWithTheOracle) {
  expect_attention_agrees(masks::fixed(32, 3));
}

TEST(Patterns, AttentionUnderAWindowWithGlobalTokensAgreesWithTheOracle) {
  expect_attention_agrees(masks::longformer({.window = 20, .dilation = 2, .global = {0, 100}}));
}

TEST(Patterns, HeadsSeeTheirOwnLayouts) {
  const auto in = softlook_test::random_problem<float>(
      {.queries = 130, .keys = 130, .features = 24, .values = 12}, softlook_test::seed(22));
  const auto mask = masks::big_bird({.block = 16, .global = 1, .random = 2, .seed = 4}, 130, 3) &
                    masks::causal_top_left{};
  const auto together = attention(in.Q, in.K, in.V, heads{.query = 3}, mask);
  for (std::int32_t head = 0; head < 3; ++head) {
    const auto truth = oracle::attention(row_major<float>(head_columns(in.Q, head, 3)),
                                         row_major<float>(head_columns(in.K, head, 3)),
                                         row_major<float>(head_columns(in.V, head, 3)), mask,
                                         oracle::for_head{head});
    const double bound = softlook_test::attention_bound<float>(
        130, 16, softlook_test::max_magnitude(truth.raw), softlook_test::max_magnitude(in.V));
    EXPECT_LE(softlook_test::max_error(head_columns(together, head, 3), truth.output), bound);
  }
}

}  // namespace
}  // namespace softlook::patterns_test
