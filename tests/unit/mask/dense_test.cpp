#include "softlook/mask/dense.hpp"

#include <gtest/gtest.h>

#include <type_traits>

#include "tests/support/errors.hpp"
#include "tests/support/mask_checks.hpp"
#include "tests/support/random.hpp"

namespace softlook::dense_test {
namespace {

using softlook_test::col_major;
using softlook_test::row_major;

template <class Matrix>
Matrix random_bool(index rows, index cols, double share, std::uint64_t number) {
  auto random = softlook_test::seed(number);
  Matrix result(rows, cols);
  for (index i = 0; i < rows; ++i)
    for (index j = 0; j < cols; ++j) result(i, j) = random.chance(share);
  return result;
}

template <class Mask, class Matrix>
void expect_allows(const Mask& mask, const Matrix& attend, problem size) {
  for (std::int32_t i = 0; i < size.queries; ++i)
    for (std::int32_t j = 0; j < size.keys; ++j)
      EXPECT_EQ(mask.allows(i, j, size), attend(i, j)) << i << ", " << j;
}

TEST(MaskDense, TrueMeansAttend) {
  const problem size{.queries = 4, .keys = 7};
  const auto by_rows = random_bool<row_major<bool>>(4, 7, 0.5, 1);
  const auto by_cols = random_bool<col_major<bool>>(4, 7, 0.5, 2);
  expect_allows(masks::dense{by_rows}, by_rows, size);
  expect_allows(masks::dense{by_cols}, by_cols, size);
}

TEST(MaskDense, ConstructorForIgnoringMasksInvertsThem) {
  const problem size{.queries = 4, .keys = 7};
  const auto ignore = random_bool<row_major<bool>>(4, 7, 0.5, 3);
  const row_major<bool> attend = ignore.unaryExpr([](bool b) { return !b; });
  expect_allows(masks::dense_ignoring(ignore), attend, size);
}

TEST(MaskDense, LooksAtBlocksAndTransposes) {
  const problem size{.queries = 3, .keys = 4};
  const auto wide = random_bool<row_major<bool>>(9, 9, 0.5, 4);
  const auto block = wide.block(2, 3, 3, 4);
  expect_allows(masks::dense{block}, block, size);
  const auto turned = wide.block(1, 1, 4, 3).transpose();
  expect_allows(masks::dense{turned}, turned, size);
}

TEST(MaskDense, RepeatsOneRowOrOneColumn) {
  const problem size{.queries = 3, .keys = 4};
  const auto row = random_bool<row_major<bool>>(1, 4, 0.5, 5);
  const auto col = random_bool<col_major<bool>>(3, 1, 0.5, 6);
  for (std::int32_t i = 0; i < 3; ++i) {
    for (std::int32_t j = 0; j < 4; ++j) {
      EXPECT_EQ(masks::dense{row}.allows(i, j, size), row(0, j));
      EXPECT_EQ(masks::dense{col}.allows(i, j, size), col(i, 0));
    }
  }
}

TEST(MaskDense, HasABlockOfRowsForEachHead) {
  const auto each = random_bool<row_major<bool>>(3 * 4, 7, 0.5, 8);
  for (std::int32_t head = 0; head < 3; ++head) {
    const problem size{.queries = 4, .keys = 7, .head = head, .heads = 3};
    const row_major<bool> own = each.middleRows(4 * head, 4);
    EXPECT_NO_THROW(masks::dense{each}.check("here", size));
    expect_allows(masks::dense{each}, own, size);
    const row_major<bool> others = own.unaryExpr([](bool b) { return !b; });
    expect_allows(masks::dense_ignoring(each), others, size);
  }
}

TEST(MaskDense, IsSharedByTheHeadsOtherwise) {
  const auto shared = random_bool<row_major<bool>>(4, 7, 0.5, 9);
  const auto one_row = random_bool<row_major<bool>>(1, 7, 0.5, 10);
  for (std::int32_t head = 0; head < 3; ++head) {
    const problem size{.queries = 4, .keys = 7, .head = head, .heads = 3};
    expect_allows(masks::dense{shared}, shared, size);
    expect_allows(masks::dense{one_row}, one_row.replicate(4, 1).eval(), size);
  }
}

TEST(MaskDense, OfHeadsWithOneQueryHasARowForEachHead) {
  const auto each = random_bool<row_major<bool>>(5, 7, 0.5, 11);
  for (std::int32_t head = 0; head < 5; ++head) {
    const problem size{.queries = 1, .keys = 7, .head = head, .heads = 5};
    EXPECT_NO_THROW(masks::dense{each}.check("here", size));
    const row_major<bool> own = each.row(head);
    expect_allows(masks::dense{each}, own, size);
  }
}

TEST(MaskDense, OfHeadsMayHaveOneColumn) {
  const auto each = random_bool<col_major<bool>>(3 * 4, 1, 0.5, 12);
  for (std::int32_t head = 0; head < 3; ++head) {
    const problem size{.queries = 4, .keys = 7, .head = head, .heads = 3};
    const row_major<bool> own = each.middleRows(4 * head, 4).replicate(1, 7);
    expect_allows(masks::dense{each}, own, size);
  }
}

TEST(MaskDense, RejectsOtherSizes) {
  const problem size{.queries = 4, .keys = 7, .head = 0, .heads = 3};
  const auto rejects = [&](index rows, index cols, std::initializer_list<const char*> pieces) {
    const auto M = random_bool<row_major<bool>>(rows, cols, 0.5, 13);
    softlook_test::expect_error<shape_error>([&] { masks::dense{M}.check("here", size); }, pieces);
  };
  rejects(3, 7, {"here", "masks::dense rows() is 3", "Q.rows() is 4"});
  rejects(8, 7, {"masks::dense rows() is 8", "Q.rows() is 4"});
  rejects(13, 7, {"masks::dense rows() is 13", "each head"});
  rejects(12, 6, {"masks::dense cols() is 6", "K.rows() is 7"});
  rejects(0, 7, {"masks::dense rows() is 0"});
}

TEST(MaskDense, TilesAgreeWithPairs) {
  for (const double share : {0.0, 0.1, 0.9, 1.0}) {
    const auto attend = random_bool<row_major<bool>>(7, 7, share, 7);
    softlook_test::expect_tiles_agree_with_pairs(masks::dense{attend});
  }
}

TEST(MaskDense, RejectsATemporaryMatrix) {
  static_assert(!std::is_constructible_v<masks::dense, row_major<bool>>);
  static_assert(std::is_constructible_v<masks::dense, const row_major<bool>&>);
}

}  // namespace
}  // namespace softlook::dense_test
