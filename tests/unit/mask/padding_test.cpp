#include "softlook/mask/padding.hpp"

#include <gtest/gtest.h>

#include "tests/support/mask_checks.hpp"

namespace softlook::padding_test {
namespace {

TEST(MaskPadding, AllowsTheFirstKeysOnly) {
  const problem size{.queries = 2, .keys = 5};
  for (std::int32_t j = 0; j < 5; ++j)
    EXPECT_EQ((masks::padding{.length = 3}.allows(1, j, size)), j < 3);
}

TEST(MaskPadding, TilesAgreeWithPairs) {
  for (index length = 0; length <= 5; ++length)
    softlook_test::expect_tiles_agree_with_pairs(masks::padding{.length = length},
                                                 softlook_test::answers::exact, 5);
}

}  // namespace
}  // namespace softlook::padding_test
