#include "softlook/mask/neighborhood.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "softlook/mask/causal.hpp"
#include "softlook/mask/combine.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/mask_checks.hpp"

namespace softlook::neighborhood_test {
namespace {

using masks::border;
using masks::neighborhood_2d;
using softlook_test::answers;
using softlook_test::expect_error;

problem tokens_of(const neighborhood_2d& mask) {
  const auto tokens = static_cast<std::int32_t>(mask.height * mask.width);
  return {.queries = tokens, .keys = tokens};
}

/// Whether a window around x of a line of `size` tokens holds `other`.
bool in_window(index x, index other, index size, index radius, border at) {
  if (at == border::cut) return std::abs(x - other) <= radius;
  const index begin = std::max<index>(std::min(x - radius, size - (2 * radius + 1)), 0);
  return other >= begin && other < begin + 2 * radius + 1;
}

template <class F>
void for_grids(const F& f) {
  for (const border at : {border::cut, border::shifted})
    for (index h = 1; h <= 5; ++h)
      for (index w = 1; w <= 5; ++w)
        for (const index ry : {0, 1, 2, 7})
          for (const index rx : {0, 1, 3}) f(neighborhood_2d{h, w, ry, rx, at});
}

TEST(MaskNeighborhood2d, HoldsTheWindowAroundTheQuery) {
  for_grids([](const neighborhood_2d& mask) {
    const problem size = tokens_of(mask);
    for (std::int32_t i = 0; i < size.queries; ++i)
      for (std::int32_t j = 0; j < size.keys; ++j)
        EXPECT_EQ(
            mask.allows(i, j, size),
            in_window(i / mask.width, j / mask.width, mask.height, mask.radius_y, mask.border) &&
                in_window(i % mask.width, j % mask.width, mask.width, mask.radius_x, mask.border));
  });
}

TEST(MaskNeighborhood2d, ShiftedWindowsHoldAsManyKeysEverywhere) {
  const neighborhood_2d mask{7, 9, 2, 3, border::shifted};
  const problem size = tokens_of(mask);
  for (std::int32_t i = 0; i < size.queries; ++i) {
    int seen = 0;
    for (std::int32_t j = 0; j < size.keys; ++j) seen += mask.allows(i, j, size);
    EXPECT_EQ(seen, 5 * 7) << i;
    EXPECT_TRUE(mask.allows(i, i, size));
  }
}

TEST(MaskNeighborhood2d, TilesAgreeWithPairs) {
  for_grids([](const neighborhood_2d& mask) {
    const problem size = tokens_of(mask);
    for (index q = 0; q < size.queries; ++q)
      for (const index rows : {1, 2, 4, 11}) {
        const range queries{q, std::min<index>(q + rows, size.queries)};
        softlook_test::expect_range_holds_every_allowed_key(mask, queries, size);
        for (index k = 0; k < size.keys; ++k)
          for (const index keys : {1, 3, 8, 13})
            softlook_test::expect_true_coverage(
                mask, queries, {k, std::min<index>(k + keys, size.keys)}, size, answers::exact);
      }
  });
}

TEST(MaskNeighborhood2d, KeyRangeIsThatOfTheRowsItReaches) {
  const neighborhood_2d mask{.height = 10, .width = 20, .radius_y = 1, .radius_x = 2};
  const problem size = tokens_of(mask);
  EXPECT_EQ(mask.key_range({5 * 20 + 7, 5 * 20 + 8}, size), (range{4 * 20 + 5, 6 * 20 + 10}));
  EXPECT_EQ(mask.key_range({0, 20}, size), (range{0, 40}));
  EXPECT_TRUE(mask.key_range({3, 3}, size).empty());
}

TEST(MaskNeighborhood2d, PreparedFormAllowsTheSamePairs) {
  for_grids([](const neighborhood_2d& mask) {
    softlook_test::expect_lookup_agrees(mask, tokens_of(mask));
  });
}

TEST(MaskNeighborhood2d, JoinsOtherMasks) {
  const neighborhood_2d mask{3, 4, 1, 1, border::shifted};
  const auto past = mask & masks::causal_top_left{};
  const problem size = tokens_of(mask);
  for (index q = 0; q < 12; ++q)
    for (index k = 0; k < 12; ++k) {
      softlook_test::expect_true_coverage(past, {q, 12}, {k, 12}, size, answers::correct);
      softlook_test::expect_true_coverage(!mask, {q, 12}, {k, 12}, size, answers::exact);
    }
}

TEST(MaskNeighborhood2d, RejectsEmptyGridsNegativeRadiiAndOtherTokens) {
  const auto check = [](const neighborhood_2d& mask, std::int32_t n, std::int32_t m) {
    return [=] { mask.check("attention", {.queries = n, .keys = m}); };
  };
  expect_error<argument_error>(check({.height = 0, .width = 4}, 0, 0),
                               {"masks::neighborhood_2d.height is 0"});
  expect_error<argument_error>(check({.height = 4, .width = index{1} << 40}, 0, 0),
                               {"masks::neighborhood_2d.width is 1.09951163e+12"});
  expect_error<argument_error>(check({.height = 4, .width = 4, .radius_y = -1}, 16, 16),
                               {"masks::neighborhood_2d.radius_y is -1"});
  expect_error<argument_error>(check({.height = 4, .width = 4, .radius_x = -3}, 16, 16),
                               {"masks::neighborhood_2d.radius_x is -3"});
  expect_error<shape_error>(check({.height = 4, .width = 4}, 15, 16),
                            {"Q.rows() is 15", "height · width is 16"});
  expect_error<shape_error>(check({.height = 4, .width = 4}, 16, 12),
                            {"K.rows() is 12", "height · width is 16"});
}

}  // namespace
}  // namespace softlook::neighborhood_test
