#include "softlook/core/types.hpp"

#include <gtest/gtest.h>

namespace softlook::types_test {
namespace {

TEST(Range, CountsNothingWhenReversed) {
  EXPECT_EQ((range{3, 7}.count()), 4);
  EXPECT_EQ((range{7, 3}.count()), 0);
  EXPECT_TRUE((range{7, 3}.empty()));
  EXPECT_TRUE((range{3, 3}.empty()));
  EXPECT_FALSE((range{3, 4}.empty()));
}

TEST(Range, IntersectionIsWhatBothHold) {
  EXPECT_EQ(intersection({0, 5}, {3, 9}), (range{3, 5}));
  EXPECT_TRUE(intersection({0, 3}, {5, 9}).empty());
}

TEST(Range, HullIgnoresEmptyRanges) {
  EXPECT_EQ(hull({0, 2}, {5, 9}), (range{0, 9}));
  EXPECT_EQ(hull({4, 4}, {5, 9}), (range{5, 9}));
  EXPECT_EQ(hull({5, 9}, {20, 3}), (range{5, 9}));
}

TEST(Names, TellInstructionSetsAndKernelsApart) {
  EXPECT_STREQ(name_of(instruction_set::baseline), "baseline");
  EXPECT_STREQ(name_of(instruction_set::avx2), "avx2");
  EXPECT_STREQ(name_of(instruction_set::avx512), "avx512");
  EXPECT_STREQ(name_of(kernel::naive), "naive");
  EXPECT_STREQ(name_of(kernel::tiled), "tiled");
  EXPECT_STREQ(name_of(kernel::few_queries), "few_queries");
}

TEST(Options, LeaveEverythingToTheLibraryByDefault) {
  const options opts;
  EXPECT_FALSE(opts.scale.has_value());
  EXPECT_FALSE(opts.isa.has_value());
  EXPECT_FALSE(opts.kernel.has_value());
  EXPECT_FALSE(opts.tile.has_value());
  EXPECT_EQ(opts.workspace, nullptr);
}

}  // namespace
}  // namespace softlook::types_test
