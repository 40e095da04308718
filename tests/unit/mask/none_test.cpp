#include "softlook/mask/none.hpp"

#include <gtest/gtest.h>

#include "tests/support/mask_checks.hpp"

namespace softlook::none_test {
namespace {

TEST(MaskNone, AllowsEveryPair) {
  const problem size{.queries = 3, .keys = 5};
  for (std::int32_t i = 0; i < size.queries; ++i)
    for (std::int32_t j = 0; j < size.keys; ++j) EXPECT_TRUE(masks::none{}.allows(i, j, size));
}

TEST(MaskNone, TilesAgreeWithPairs) {
  softlook_test::expect_tiles_agree_with_pairs(masks::none{}, softlook_test::answers::exact, 4);
}

TEST(MaskNone, BoundsTheLoopByTheKeys) {
  const range keys = masks::none{}.key_range({0, 3}, {.queries = 3, .keys = 5});
  EXPECT_EQ(keys.begin, 0);
  EXPECT_EQ(keys.end, 5);
}

}  // namespace
}  // namespace softlook::none_test
