#include "softlook/mask/combine.hpp"

#include <gtest/gtest.h>

#include "softlook/mask/causal.hpp"
#include "softlook/mask/dense.hpp"
#include "softlook/mask/none.hpp"
#include "softlook/mask/padding.hpp"
#include "softlook/mask/where.hpp"
#include "softlook/mask/window.hpp"
#include "tests/support/erased.hpp"
#include "tests/support/mask_checks.hpp"
#include "tests/support/random.hpp"

namespace softlook::combine_test {
namespace {

using softlook_test::answers;
using softlook_test::expect_tiles_agree_with_pairs;

constexpr std::int32_t largest = 5;

using held = std::shared_ptr<const softlook_test::mask_interface>;

void expect_logical(const held& a, const held& b, const held& intersection, const held& unity,
                    const held& outside) {
  for (std::int32_t n = 1; n <= largest; ++n) {
    for (std::int32_t m = 1; m <= largest; ++m) {
      const problem size{.queries = n, .keys = m};
      for (std::int32_t i = 0; i < n; ++i) {
        for (std::int32_t j = 0; j < m; ++j) {
          const bool in_a = a->allows(i, j, size), in_b = b->allows(i, j, size);
          EXPECT_EQ(intersection->allows(i, j, size), in_a && in_b);
          EXPECT_EQ(unity->allows(i, j, size), in_a || in_b);
          EXPECT_EQ(outside->allows(i, j, size), !in_a);
        }
      }
    }
  }
  for (const held& mask : {intersection, unity, outside})
    expect_tiles_agree_with_pairs(*mask, answers::correct, largest);
}

template <class A, class B>
void expect_operators_are_logical(const A& a, const B& b) {
  using softlook_test::hold_mask;
  expect_logical(hold_mask(a), hold_mask(b), hold_mask(a & b), hold_mask(a | b), hold_mask(!a));
}

template <class A>
void expect_combines_with_every_mask(const A& a) {
  auto random = softlook_test::seed(11);
  softlook_test::row_major<bool> attend(largest, largest);
  for (index i = 0; i < attend.size(); ++i) attend.data()[i] = random.chance(0.7);
  expect_operators_are_logical(a, masks::none{});
  expect_operators_are_logical(a, masks::causal_top_left{});
  expect_operators_are_logical(a, masks::causal_bottom_right{});
  expect_operators_are_logical(a, masks::causal{.offset = -2});
  expect_operators_are_logical(a, masks::window{.left = 1, .right = 2, .offset = 1});
  expect_operators_are_logical(a, masks::window{.left = 1});
  expect_operators_are_logical(a, masks::padding{.length = 1});
  expect_operators_are_logical(a, masks::dense{attend});
  expect_operators_are_logical(a, masks::where([](int i, int j) { return (i ^ j) & 1; }));
}

TEST(CombinedMasks, NoneCombinesWithEveryMask) { expect_combines_with_every_mask(masks::none{}); }

TEST(CombinedMasks, CausalTopLeftCombinesWithEveryMask) {
  expect_combines_with_every_mask(masks::causal_top_left{});
}

TEST(CombinedMasks, CausalBottomRightCombinesWithEveryMask) {
  expect_combines_with_every_mask(masks::causal_bottom_right{});
}

TEST(CombinedMasks, CausalWithOffsetCombinesWithEveryMask) {
  expect_combines_with_every_mask(masks::causal{.offset = 1});
}

TEST(CombinedMasks, WindowCombinesWithEveryMask) {
  expect_combines_with_every_mask(masks::window{.left = 1, .right = 0});
}

TEST(CombinedMasks, PaddingCombinesWithEveryMask) {
  expect_combines_with_every_mask(masks::padding{.length = 1});
}

TEST(CombinedMasks, OperatorsNest) {
  const auto band = masks::window{.left = 1, .right = 1};
  const auto late = !masks::causal{.offset = -3};
  const auto nested = (!(band & late)) | (masks::causal_bottom_right{} & !masks::causal_top_left{});
  for (std::int32_t n = 1; n <= largest; ++n) {
    for (std::int32_t m = 1; m <= largest; ++m) {
      const problem size{.queries = n, .keys = m};
      for (std::int32_t i = 0; i < n; ++i) {
        for (std::int32_t j = 0; j < m; ++j) {
          const bool in_band = j >= i - 1 && j <= i + 1;
          const bool is_late = j > i - 3;
          const bool between = j <= i + m - n && j > i;
          EXPECT_EQ(nested.allows(i, j, size), !(in_band && is_late) || between);
        }
      }
    }
  }
  expect_tiles_agree_with_pairs(nested);
}

TEST(CombinedMasks, WhatNeitherSeesIsNotVisited) {
  const problem size{.queries = 4, .keys = 9};
  const auto either = masks::padding{.length = 2} | masks::padding{.length = 3};
  EXPECT_EQ(either.coverage_of({0, 4}, {5, 9}, size), coverage::none);
  EXPECT_EQ(either.coverage_of({0, 4}, {2, 9}, size), coverage::partial);
  EXPECT_EQ(either.key_range({0, 4}, size), (range{0, 3}));
  const auto both = masks::padding{.length = 2} & masks::padding{.length = 3};
  EXPECT_EQ(both.coverage_of({0, 4}, {2, 9}, size), coverage::none);
  EXPECT_EQ(both.key_range({0, 4}, size), (range{0, 2}));
}

TEST(CombinedMasks, IntersectionOfBandsStaysExact) {
  expect_tiles_agree_with_pairs(masks::causal_bottom_right{} & masks::padding{.length = 1});
  const problem size{.queries = 100, .keys = 100};
  const auto band = masks::window{.left = 3, .right = 3} & masks::causal_top_left{};
  EXPECT_EQ(band.coverage_of({0, 10}, {50, 60}, size), coverage::none);
  EXPECT_EQ(band.coverage_of({50, 52}, {49, 50}, size), coverage::full);
  const range keys = band.key_range({50, 52}, size);
  EXPECT_EQ(keys.begin, 47);
  EXPECT_EQ(keys.end, 52);
}

TEST(CombinedMasks, ComplementOfAnEmptyMaskAllowsEverything) {
  const problem size{.queries = 4, .keys = 4};
  const auto all = !masks::padding{.length = 0};
  EXPECT_EQ(all.coverage_of({0, 4}, {0, 4}, size), coverage::full);
  const range keys = all.key_range({0, 4}, size);
  EXPECT_EQ(keys.begin, 0);
  EXPECT_EQ(keys.end, 4);
}

}  // namespace
}  // namespace softlook::combine_test
