#include "softlook/mask/dilated.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/errors.hpp"
#include "tests/support/mask_checks.hpp"

namespace softlook::dilated_test {
namespace {

using softlook_test::answers;
using softlook_test::expect_error;
using softlook_test::expect_lookup_agrees;
using softlook_test::expect_tiles_agree_with_pairs;

TEST(MaskDilatedWindow, HoldsEveryDilationthKey) {
  const problem size{.queries = 12, .keys = 12};
  const masks::dilated_window mask{.left = 2, .right = 1, .dilation = 3};
  for (std::int32_t j = 0; j < 12; ++j)
    EXPECT_EQ(mask.allows(7, j, size), j == 1 || j == 4 || j == 7 || j == 10) << j;
}

TEST(MaskDilatedWindow, UnsetSideIsUnbounded) {
  const problem size{.queries = 12, .keys = 12};
  const masks::dilated_window past{.left = {}, .right = 0, .dilation = 3};
  for (std::int32_t j = 0; j < 12; ++j)
    EXPECT_EQ(past.allows(8, j, size), j == 2 || j == 5 || j == 8) << j;
}

TEST(MaskDilatedWindow, TilesAgreeWithPairs) {
  for (index dilation = 1; dilation <= 4; ++dilation) {
    for (index side = 0; side <= 2; ++side) {
      expect_tiles_agree_with_pairs(
          masks::dilated_window{.left = side, .right = 1, .dilation = dilation}, answers::exact, 6);
      expect_tiles_agree_with_pairs(
          masks::dilated_window{.left = {}, .right = side, .dilation = dilation}, answers::exact,
          6);
    }
    expect_tiles_agree_with_pairs(masks::dilated_window{.dilation = dilation}, answers::exact, 6);
  }
}

TEST(MaskDilatedWindow, PreparedFormAllowsTheSamePairs) {
  for (index dilation : {1, 2, 3, 8, 12, 29})
    expect_lookup_agrees(masks::dilated_window{.left = 3, .right = {}, .dilation = dilation},
                         {.queries = 61, .keys = 47});
}

TEST(MaskDilatedWindow, TakesAnyIndexWithoutOverflow) {
  constexpr index huge = std::numeric_limits<index>::max();
  const problem size{.queries = 100, .keys = 100};
  const masks::dilated_window all{.left = huge, .right = huge, .dilation = 1};
  EXPECT_EQ(all.coverage_of({0, 100}, {0, 100}, size), coverage::full);
  const masks::dilated_window own{.left = huge, .right = huge, .dilation = huge};
  EXPECT_TRUE(own.allows(99, 99, size));
  EXPECT_FALSE(own.allows(0, 99, size));
  EXPECT_EQ(own.coverage_of({0, 10}, {50, 60}, size), coverage::none);
  expect_lookup_agrees(own, {.queries = 9, .keys = 9});
}

TEST(MaskDilatedWindow, RejectsNegativeSidesAndDilationBelowOne) {
  const auto check = [](const masks::dilated_window& mask) {
    return [mask] { mask.check("attention", {}); };
  };
  expect_error<argument_error>(check({.left = -1}),
                               {"attention: masks::dilated_window.left is -1", "unbounded"});
  expect_error<argument_error>(check({.right = -2}), {"masks::dilated_window.right is -2"});
  expect_error<argument_error>(check({.dilation = 0}), {"masks::dilated_window.dilation is 0"});
}

}  // namespace
}  // namespace softlook::dilated_test
