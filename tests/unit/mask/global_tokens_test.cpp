#include "softlook/mask/global_tokens.hpp"

#include <gtest/gtest.h>

#include "tests/support/errors.hpp"
#include "tests/support/mask_checks.hpp"

namespace softlook::global_tokens_test {
namespace {

using softlook_test::answers;
using softlook_test::expect_error;
using softlook_test::expect_tiles_agree_with_pairs;

TEST(MaskGlobalTokens, SeeEverythingAndAreSeenByAll) {
  const problem size{.queries = 6, .keys = 6};
  const masks::global_tokens mask{1, 4};
  for (std::int32_t i = 0; i < 6; ++i)
    for (std::int32_t j = 0; j < 6; ++j)
      EXPECT_EQ(mask.allows(i, j, size), i == 1 || i == 4 || j == 1 || j == 4) << i << " " << j;
}

TEST(MaskGlobalTokens, TilesAgreeWithPairsForEverySetOfTokens) {
  for (int set = 0; set < 64; ++set) {
    std::vector<index> positions;
    for (int k = 0; k < 6; ++k)
      if (set >> k & 1) positions.push_back(k);
    expect_tiles_agree_with_pairs(masks::global_tokens(positions), answers::exact, 5);
  }
}

TEST(MaskGlobalTokens, TilesAgreeWithPairsAcrossWords) {
  const problem size{.queries = 100, .keys = 100};
  const masks::global_tokens mask{31, 32, 33, 64, 65, 90};
  for (index q = 0; q < 100; ++q)
    for (index k = 0; k < 100; ++k)
      for (index width : {1, 2, 7, 40})
        softlook_test::expect_true_coverage(mask, {q, std::min<index>(q + 1 + k % 3, 100)},
                                            {k, std::min<index>(k + width, 100)}, size,
                                            answers::exact);
  EXPECT_EQ(mask.key_range({0, 31}, size), (range{31, 91}));
  EXPECT_EQ(mask.key_range({0, 32}, size), (range{0, 100}));
}

TEST(MaskGlobalTokens, OrderRepetitionAndPositionsBehindTheLastTokenDoNotMatter) {
  const problem size{.queries = 5, .keys = 5};
  const masks::global_tokens mask{1000, 3, 3, 0}, same{0, 3};
  for (std::int32_t i = 0; i < 5; ++i)
    for (std::int32_t j = 0; j < 5; ++j)
      EXPECT_EQ(mask.allows(i, j, size), same.allows(i, j, size));
}

TEST(MaskGlobalTokens, ACopyOutlivesTheOriginal) {
  const problem size{.queries = 5, .keys = 5};
  const auto made = [] { return masks::global_tokens{2}; };
  const masks::global_tokens copy = made();
  EXPECT_TRUE(copy.allows(2, 0, size));
  EXPECT_FALSE(copy.allows(1, 0, size));
}

TEST(MaskGlobalTokens, RejectsPositionsThatAreNone) {
  expect_error<argument_error>([] { masks::global_tokens{-1}; },
                               {"masks::global_tokens: position is -1"});
  expect_error<argument_error>([] { masks::global_tokens{index{1} << 31}; },
                               {"masks::global_tokens: position is 2.14748365e+09"});
}

}  // namespace
}  // namespace softlook::global_tokens_test
