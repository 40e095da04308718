#include "softlook/mask/window.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/mask_checks.hpp"

namespace softlook::window_test {
namespace {

using softlook_test::answers;
using softlook_test::expect_tiles_agree_with_pairs;

TEST(MaskWindow, HoldsBothEnds) {
  const problem size{.queries = 9, .keys = 9};
  const masks::window mask{.left = 2, .right = 1};
  for (std::int32_t j = 0; j < 9; ++j) EXPECT_EQ(mask.allows(4, j, size), j >= 2 && j <= 5) << j;
}

TEST(MaskWindow, UnsetSideIsUnbounded) {
  const problem size{.queries = 9, .keys = 9};
  const masks::window past{.right = 0};
  const masks::window future{.left = 0};
  for (std::int32_t i = 0; i < 9; ++i) {
    for (std::int32_t j = 0; j < 9; ++j) {
      EXPECT_EQ(past.allows(i, j, size), j <= i);
      EXPECT_EQ(future.allows(i, j, size), j >= i);
      EXPECT_TRUE(masks::window{}.allows(i, j, size));
    }
  }
}

TEST(MaskWindow, OffsetMovesTheWindowAlongTheKeys) {
  const problem size{.queries = 3, .keys = 9};
  const masks::window mask{.left = 1, .right = 1, .offset = 5};
  for (std::int32_t i = 0; i < 3; ++i)
    for (std::int32_t j = 0; j < 9; ++j)
      EXPECT_EQ(mask.allows(i, j, size), j >= i + 4 && j <= i + 6);
}

TEST(MaskWindow, TilesAgreeWithPairs) {
  for (index left = 0; left <= 3; ++left)
    for (index right = 0; right <= 3; ++right)
      for (index offset = -4; offset <= 4; offset += 2)
        expect_tiles_agree_with_pairs(masks::window{.left = left, .right = right, .offset = offset},
                                      answers::exact, 5);
}

TEST(MaskWindow, TilesAgreeWithPairsWhereASideIsUnbounded) {
  for (index offset = -3; offset <= 3; ++offset) {
    expect_tiles_agree_with_pairs(masks::window{.left = 1, .offset = offset}, answers::exact, 5);
    expect_tiles_agree_with_pairs(masks::window{.right = 1, .offset = offset}, answers::exact, 5);
    expect_tiles_agree_with_pairs(masks::window{.offset = offset}, answers::exact, 4);
  }
}

TEST(MaskWindow, TakesAnyIndexWithoutOverflow) {
  constexpr index huge = std::numeric_limits<index>::max();
  const problem size{.queries = 100, .keys = 100};
  const masks::window all{.left = huge, .right = huge};
  EXPECT_TRUE(all.allows(0, 99, size));
  EXPECT_TRUE(all.allows(99, 0, size));
  EXPECT_EQ(all.coverage_of({0, 100}, {0, 100}, size), coverage::full);
}

TEST(MaskWindowOf, CountsTheQueryItself) {
  const problem size{.queries = 9, .keys = 9};
  for (index count = 1; count <= 4; ++count) {
    const auto mask = masks::window_of(count);
    int live = 0;
    for (std::int32_t j = 0; j < 9; ++j) live += mask.allows(8, j, size) ? 1 : 0;
    EXPECT_EQ(live, count);
    EXPECT_TRUE(mask.allows(8, 8, size));
    EXPECT_FALSE(mask.allows(4, 5, size));
  }
}

TEST(MaskWindowOf, RejectsACountBelowOne) {
  try {
    (void)masks::window_of(0);
    FAIL() << "no error";
  } catch (const argument_error& error) {
    EXPECT_NE(std::string(error.what()).find("count is 0"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace softlook::window_test
