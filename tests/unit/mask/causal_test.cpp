#include "softlook/mask/causal.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/mask_checks.hpp"

namespace softlook::causal_test {
namespace {

using softlook_test::answers;
using softlook_test::expect_tiles_agree_with_pairs;

template <class Mask>
int live_keys(const Mask& mask, std::int32_t i, problem size) {
  int count = 0;
  for (std::int32_t j = 0; j < size.keys; ++j) count += mask.allows(i, j, size) ? 1 : 0;
  return count;
}

TEST(CausalTopLeft, FirstQuerySeesOnlyTheFirstKey) {
  const problem size{.queries = 3, .keys = 5};
  EXPECT_EQ(live_keys(masks::causal_top_left{}, 0, size), 1);
  EXPECT_TRUE(masks::causal_top_left{}.allows(0, 0, size));
}

TEST(CausalTopLeft, LastQueryOfFewerQueriesMissesTheLastKeys) {
  EXPECT_EQ(live_keys(masks::causal_top_left{}, 2, {.queries = 3, .keys = 5}), 3);
}

TEST(CausalTopLeft, TilesAgreeWithPairs) {
  expect_tiles_agree_with_pairs(masks::causal_top_left{}, answers::exact);
}

TEST(CausalTopLeft, KeysBehindTheLastQueryAreNotVisited) {
  const problem size{.queries = 5, .keys = 9};
  EXPECT_EQ(masks::causal_top_left{}.key_range({1, 3}, size), (range{0, 3}));
  EXPECT_EQ(masks::causal_bottom_right{}.key_range({1, 3}, size), (range{0, 7}));
}

TEST(CausalBottomRight, LastQuerySeesEveryKey) {
  const problem size{.queries = 3, .keys = 5};
  EXPECT_EQ(live_keys(masks::causal_bottom_right{}, 2, size), 5);
  EXPECT_EQ(live_keys(masks::causal_bottom_right{}, 0, size), 3);
}

TEST(CausalBottomRight, LeavesTheFirstOfMoreQueriesThanKeysWithoutAKey) {
  const problem size{.queries = 5, .keys = 3};
  EXPECT_EQ(live_keys(masks::causal_bottom_right{}, 0, size), 0);
  EXPECT_EQ(live_keys(masks::causal_bottom_right{}, 1, size), 0);
  EXPECT_EQ(live_keys(masks::causal_bottom_right{}, 2, size), 1);
}

TEST(CausalBottomRight, TilesAgreeWithPairs) {
  expect_tiles_agree_with_pairs(masks::causal_bottom_right{}, answers::exact);
}

TEST(CausalBottomRight, EqualsTopLeftForAsManyKeysAsQueries) {
  const problem size{.queries = 6, .keys = 6};
  for (std::int32_t i = 0; i < 6; ++i)
    for (std::int32_t j = 0; j < 6; ++j)
      EXPECT_EQ(masks::causal_bottom_right{}.allows(i, j, size),
                masks::causal_top_left{}.allows(i, j, size));
}

TEST(CausalWithOffset, AllowsKeysUpToTheQueryPlusTheOffset) {
  const problem size{.queries = 4, .keys = 6};
  for (index offset = -5; offset <= 5; ++offset)
    for (std::int32_t i = 0; i < 4; ++i)
      for (std::int32_t j = 0; j < 6; ++j)
        EXPECT_EQ((masks::causal{.offset = offset}.allows(i, j, size)), j <= i + offset);
}

TEST(CausalWithOffset, TilesAgreeWithPairs) {
  for (index offset = -8; offset <= 8; ++offset)
    expect_tiles_agree_with_pairs(masks::causal{.offset = offset}, answers::exact, 5);
}

TEST(CausalWithOffset, TakesAnyIndexWithoutOverflow) {
  const problem size{.queries = std::numeric_limits<std::int32_t>::max(),
                     .keys = std::numeric_limits<std::int32_t>::max()};
  const std::int32_t last = size.keys - 1;
  const masks::causal all{.offset = std::numeric_limits<index>::max()};
  EXPECT_TRUE(all.allows(0, last, size));
  EXPECT_TRUE(all.allows(last, last, size));
  EXPECT_EQ(all.coverage_of({0, size.queries}, {0, size.keys}, size), coverage::full);
  const masks::causal nothing{.offset = std::numeric_limits<index>::min()};
  EXPECT_FALSE(nothing.allows(last, 0, size));
  EXPECT_EQ(nothing.coverage_of({0, size.queries}, {0, size.keys}, size), coverage::none);
  EXPECT_TRUE(
      intersection(nothing.key_range({0, size.queries}, size), range{0, size.keys}).empty());
}

}  // namespace
}  // namespace softlook::causal_test
