#include "softlook/mask/block_sparse.hpp"

#include <gtest/gtest.h>

#include "tests/support/errors.hpp"
#include "tests/support/mask_checks.hpp"
#include "tests/support/random.hpp"

namespace softlook::block_sparse_test {
namespace {

using softlook_test::answers;
using softlook_test::expect_error;
using layout = softlook_test::row_major<bool>;

layout random_layout(index rows, index cols, double share, std::uint64_t seed) {
  auto random = softlook_test::seed(seed);
  layout on(rows, cols);
  for (index k = 0; k < on.size(); ++k) on.data()[k] = random.chance(share);
  return on;
}

TEST(MaskBlockSparse, AllowsThePairsOfTheBlocksThatAreOn) {
  const layout on = random_layout(3, 5, 0.5, 1);
  const masks::block_sparse mask(on, 4);
  const problem size{.queries = 11, .keys = 18};
  for (std::int32_t i = 0; i < 11; ++i)
    for (std::int32_t j = 0; j < 18; ++j)
      EXPECT_EQ(mask.allows(i, j, size), on(i / 4, j / 4)) << i << " " << j;
}

TEST(MaskBlockSparse, TilesAgreeWithPairs) {
  for (const double share : {0.0, 0.2, 0.8, 1.0})
    for (index block = 1; block <= 7; ++block)
      softlook_test::expect_tiles_agree_with_pairs(
          masks::block_sparse(random_layout(7, 7, share, std::uint64_t(block)), block),
          answers::exact);
}

TEST(MaskBlockSparse, TilesAgreeWithPairsInLayoutsOfSeveralWords) {
  const masks::block_sparse mask(random_layout(50, 80, 0.3, 9), 2);
  const problem size{.queries = 99, .keys = 159};
  for (index q = 0; q < 99; q += 5)
    for (index k = 0; k < 159; ++k)
      for (index width : {1, 3, 8, 70})
        softlook_test::expect_true_coverage(mask, {q, std::min<index>(q + 1 + k % 9, 99)},
                                            {k, std::min<index>(k + width, 159)}, size,
                                            answers::exact);
}

TEST(MaskBlockSparse, KeyRangeEndsAtTheLastBlockThatIsOn) {
  layout on = layout::Constant(4, 40, false);
  on(1, 3) = on(1, 35) = on(2, 36) = true;
  const masks::block_sparse mask(on, 10);
  const problem size{.queries = 40, .keys = 395};
  EXPECT_TRUE(mask.key_range({0, 10}, size).empty());
  EXPECT_EQ(mask.key_range({10, 20}, size), (range{30, 360}));
  EXPECT_EQ(mask.key_range({5, 25}, size), (range{30, 370}));
}

TEST(MaskBlockSparse, EachHeadMayHaveItsOwnLayout) {
  const std::vector<layout> layouts = {random_layout(6, 6, 0.4, 2), random_layout(6, 6, 0.4, 3)};
  const masks::block_sparse mask(layouts, 2);
  for (std::int32_t head = 0; head < 2; ++head) {
    const problem size{.queries = 12, .keys = 12, .head = head, .heads = 2};
    const layout& on = layouts[std::size_t(head)];
    for (std::int32_t i = 0; i < 12; ++i)
      for (std::int32_t j = 0; j < 12; ++j) EXPECT_EQ(mask.allows(i, j, size), on(i / 2, j / 2));
    for (index r = 0; r < 6; ++r)
      for (index c = 0; c < 6; ++c) EXPECT_EQ(mask.is_on(r, c, head), on(r, c));
    for (index q = 0; q < 12; ++q) {
      softlook_test::expect_range_holds_every_allowed_key(mask, {q, q + 1}, size);
      softlook_test::expect_true_coverage(mask, {q, q + 1}, {q / 2, 12}, size, answers::exact);
    }
  }
}

TEST(MaskBlockSparse, OneLayoutServesAllHeads) {
  const layout on = random_layout(3, 3, 0.5, 4);
  const masks::block_sparse mask(on, 2);
  const problem size{.queries = 6, .keys = 6, .head = 5, .heads = 8};
  for (std::int32_t i = 0; i < 6; ++i)
    for (std::int32_t j = 0; j < 6; ++j) EXPECT_EQ(mask.allows(i, j, size), on(i / 2, j / 2));
  mask.check("attention", size);
}

TEST(MaskBlockSparse, DensityIsTheShareOfBlocksThatAreOn) {
  layout on = layout::Constant(3, 40, false);
  on.row(1).setConstant(true);
  EXPECT_EQ(masks::block_sparse(on, 16).density(), 1.0 / 3);
  EXPECT_EQ(masks::block_sparse(layout(0, 0), 16).density(), 0);
}

TEST(MaskBlockSparse, TheLayoutMustCoverTheProblem) {
  const layout square = layout::Constant(3, 4, true);
  const masks::block_sparse mask(square, 8);
  mask.check("attention", {.queries = 24, .keys = 32});
  mask.check("attention", {.queries = 1, .keys = 1});
  expect_error<shape_error>([&] { mask.check("attention", {.queries = 25, .keys = 32}); },
                            {"attention: masks::block_sparse rows() is 3", "Q.rows() / block is 4",
                             "a row for each block of queries"});
  expect_error<shape_error>([&] { mask.check("attention", {.queries = 24, .keys = 33}); },
                            {"masks::block_sparse cols() is 4", "K.rows() / block is 5"});
}

TEST(MaskBlockSparse, RejectsBlocksBelowOneAndLayoutsThatDoNotFit) {
  const layout on = layout::Constant(3, 4, true), other = layout::Constant(3, 5, true);
  expect_error<argument_error>([&] { masks::block_sparse(on, 0); },
                               {"masks::block_sparse: block is 0"});
  expect_error<argument_error>([] { masks::block_sparse(std::vector<layout>{}, 1); },
                               {"masks::block_sparse: layouts.size() is 0"});
  expect_error<shape_error>([&] { masks::block_sparse(std::vector<layout>{on, other}, 1); },
                            {"columns of a layout is 5", "columns of the first is 4"});
  const masks::block_sparse two(std::vector<layout>{on, on}, 1);
  expect_error<shape_error>(
      [&] { two.check("attention", {.queries = 3, .keys = 4, .head = 0, .heads = 4}); },
      {"masks::block_sparse layouts() is 2", "heads.query is 4"});
}

}  // namespace
}  // namespace softlook::block_sparse_test
