#include "softlook/mask/dense.hpp"

#include <gtest/gtest.h>

#include <type_traits>

#include "tests/support/mask_checks.hpp"
#include "tests/support/random.hpp"

namespace softlook {
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
}  // namespace softlook
