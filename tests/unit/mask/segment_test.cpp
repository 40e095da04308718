#include "softlook/mask/segment.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/errors.hpp"
#include "tests/support/mask_checks.hpp"

namespace softlook::segment_test {
namespace {

using softlook_test::answers;
using softlook_test::expect_error;
using softlook_test::expect_lookup_agrees;
using softlook_test::expect_tiles_agree_with_pairs;

constexpr index huge = std::numeric_limits<index>::max();

TEST(MaskSameSegment, HoldsTheKeysOfTheQuerysSegment) {
  const problem size{.queries = 9, .keys = 9};
  const masks::same_segment mask{3};
  for (std::int32_t j = 0; j < 9; ++j) EXPECT_EQ(mask.allows(4, j, size), j >= 3 && j < 6) << j;
}

TEST(MaskSegmentEnds, HoldsTheLastKeysOfEverySegment) {
  const problem size{.queries = 9, .keys = 9};
  const masks::segment_ends mask{.length = 4, .count = 2};
  for (std::int32_t j = 0; j < 9; ++j)
    EXPECT_EQ(mask.allows(0, j, size), j == 2 || j == 3 || j == 6 || j == 7) << j;
}

TEST(MaskSameSegment, TilesAgreeWithPairs) {
  for (index length = 1; length <= 8; ++length)
    expect_tiles_agree_with_pairs(masks::same_segment{length}, answers::exact);
}

TEST(MaskSegmentEnds, TilesAgreeWithPairs) {
  for (index length = 1; length <= 8; ++length)
    for (index count = 1; count <= length; ++count)
      expect_tiles_agree_with_pairs(masks::segment_ends{length, count}, answers::exact, 6);
}

TEST(MaskSegments, PreparedFormsAllowTheSamePairs) {
  for (index length : {index{1}, index{2}, index{7}, index{16}, index{33}, huge}) {
    expect_lookup_agrees(masks::same_segment{length}, {.queries = 71, .keys = 53});
    expect_lookup_agrees(masks::segment_ends{length, 1}, {.queries = 71, .keys = 53});
    expect_lookup_agrees(masks::segment_ends{length, length}, {.queries = 71, .keys = 53});
  }
}

TEST(MaskSegments, RejectLengthsAndCountsOutOfRange) {
  expect_error<argument_error>([] { masks::same_segment{0}.check("attention", {}); },
                               {"attention: masks::same_segment.length is 0"});
  expect_error<argument_error>([] { masks::segment_ends{0, 0}.check("attention", {}); },
                               {"masks::segment_ends.length is 0"});
  expect_error<argument_error>([] { masks::segment_ends{4, 5}.check("attention", {}); },
                               {"masks::segment_ends.count is 5", "between 1", "4"});
  expect_error<argument_error>([] { masks::segment_ends{4, 0}.check("attention", {}); },
                               {"masks::segment_ends.count is 0"});
}

}  // namespace
}  // namespace softlook::segment_test
