#include "softlook/mask/prefix_lm.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "softlook/mask/combine.hpp"
#include "softlook/mask/padding.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/mask_checks.hpp"

namespace softlook::prefix_lm_test {
namespace {

using masks::corner;
using softlook_test::answers;
using softlook_test::expect_error;
using softlook_test::expect_lookup_agrees;
using softlook_test::expect_tiles_agree_with_pairs;

TEST(MaskPrefixLm, SeesThePrefixAndThePast) {
  for (const index prefix : {0, 1, 3, 6, 9}) {
    for (std::int32_t n = 1; n <= 7; ++n) {
      for (std::int32_t m = 1; m <= 7; ++m) {
        const problem size{.queries = n, .keys = m};
        const masks::prefix_lm top{.prefix = prefix};
        const masks::prefix_lm bottom{.prefix = prefix, .diagonal = corner::bottom_right};
        for (std::int32_t i = 0; i < n; ++i)
          for (std::int32_t j = 0; j < m; ++j) {
            EXPECT_EQ(top.allows(i, j, size), j < prefix || j <= i);
            EXPECT_EQ(bottom.allows(i, j, size), j < prefix || j <= i + m - n);
          }
      }
    }
  }
}

TEST(MaskPrefixLm, TilesAgreeWithPairs) {
  for (const corner at : {corner::top_left, corner::bottom_right}) {
    for (const index prefix : {0, 1, 2, 5, 20})
      expect_tiles_agree_with_pairs(masks::prefix_lm{prefix, at}, answers::exact);
    expect_tiles_agree_with_pairs(masks::prefix_lm{std::numeric_limits<index>::max(), at},
                                  answers::exact);
  }
}

TEST(MaskPrefixLm, KeyRangeEndsAtThePrefixOrTheDiagonal) {
  const problem size{.queries = 20, .keys = 30};
  const masks::prefix_lm mask{.prefix = 8};
  EXPECT_EQ(mask.key_range({0, 4}, size), (range{0, 8}));
  EXPECT_EQ(mask.key_range({4, 12}, size), (range{0, 12}));
  const masks::prefix_lm last{.prefix = 8, .diagonal = corner::bottom_right};
  EXPECT_EQ(last.key_range({4, 12}, size), (range{0, 22}));
}

TEST(MaskPrefixLm, PreparedFormAllowsTheSamePairs) {
  expect_lookup_agrees(masks::prefix_lm{.prefix = 11}, {.queries = 31, .keys = 23});
  expect_lookup_agrees(masks::prefix_lm{.prefix = 11, .diagonal = corner::bottom_right},
                       {.queries = 31, .keys = 23});
}

TEST(MaskPrefixLm, RejectsANegativePrefix) {
  expect_error<argument_error>([] { masks::prefix_lm{.prefix = -2}.check("attention", {}); },
                               {"attention: masks::prefix_lm.prefix is -2", "0 or more"});
}

TEST(MaskPrefixLmBySequence, HasAPrefixForEachSequence) {
  const std::int32_t prefixes[] = {0, 2, 5};
  const masks::prefix_lm_by_sequence mask(prefixes, corner::bottom_right);
  for (std::int32_t s = 0; s < 3; ++s) {
    const problem size{.queries = 5, .keys = 7, .sequence = s};
    const masks::prefix_lm alone{prefixes[s], corner::bottom_right};
    for (index q = 0; q < 5; ++q) {
      EXPECT_EQ(mask.key_range({q, q + 1}, size), alone.key_range({q, q + 1}, size));
      for (index k = 0; k < 7; ++k) {
        EXPECT_EQ(mask.allows(std::int32_t(q), std::int32_t(k), size),
                  alone.allows(std::int32_t(q), std::int32_t(k), size));
        softlook_test::expect_true_coverage(mask, {0, q + 1}, {k, 7}, size, answers::exact);
      }
    }
    EXPECT_NO_THROW(mask.check("attention", size));
  }
}

TEST(MaskPrefixLmBySequence, RejectsTooFewPrefixesAndNegativeOnes) {
  const std::int32_t prefixes[] = {3, -4};
  const masks::prefix_lm_by_sequence mask(prefixes);
  expect_error<argument_error>(
      [&] { mask.check("attention", {.queries = 1, .keys = 1, .sequence = 1}); },
      {"masks::prefix_lm_by_sequence prefix is -4", "sequence 1"});
  expect_error<shape_error>(
      [&] { mask.check("attention", {.queries = 1, .keys = 1, .sequence = 2}); },
      {"prefixes.size() is 2", "number of sequences is 3"});
}

TEST(MaskPrefixLm, JoinsOtherMasks) {
  const masks::prefix_lm mask{.prefix = 3};
  expect_tiles_agree_with_pairs(!mask, answers::exact);
  expect_tiles_agree_with_pairs(mask & !masks::prefix_lm{.prefix = 1});
  expect_tiles_agree_with_pairs(mask | masks::padding{1});
}

}  // namespace
}  // namespace softlook::prefix_lm_test
