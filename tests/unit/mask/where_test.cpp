#include "softlook/mask/where.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/mask_checks.hpp"

namespace softlook::where_test {
namespace {

TEST(MaskWhere, AsksThePredicate) {
  const problem size{.queries = 5, .keys = 5};
  const masks::where mask([](std::int32_t i, std::int32_t j) { return (i + j) % 3 == 0; });
  for (std::int32_t i = 0; i < 5; ++i)
    for (std::int32_t j = 0; j < 5; ++j) EXPECT_EQ(mask.allows(i, j, size), (i + j) % 3 == 0);
}

TEST(MaskWhere, PassesTheHeadToAPredicateThatWantsIt) {
  const masks::where mask(
      [](std::int32_t i, std::int32_t j, std::int32_t head) { return i + j == head; });
  for (std::int32_t head = 0; head < 4; ++head)
    for (std::int32_t j = 0; j < 4; ++j)
      EXPECT_EQ(mask.allows(0, j, {.queries = 1, .keys = 4, .head = head}), j == head);
}

TEST(MaskWhere, PassesTheProblemToAPredicateThatWantsIt) {
  const masks::where mask([](std::int32_t i, std::int32_t j, problem p) {
    return i + p.keys - p.queries >= j && p.sequence == 2;
  });
  for (std::int32_t sequence = 1; sequence <= 2; ++sequence)
    for (std::int32_t j = 0; j < 4; ++j)
      EXPECT_EQ(mask.allows(0, j, {.queries = 2, .keys = 4, .sequence = sequence}),
                sequence == 2 && j <= 2);
}

TEST(MaskWhere, HoldsTheParametersOfItsPredicate) {
  const std::vector<std::int32_t> group = {0, 1, 0, 2, 1};
  for (const std::int32_t shift : {0, 1}) {
    const masks::where mask([=, &group](std::int32_t i, std::int32_t j) {
      return group[std::size_t(i)] + shift == group[std::size_t(j)];
    });
    for (std::int32_t i = 0; i < 5; ++i)
      for (std::int32_t j = 0; j < 5; ++j)
        EXPECT_EQ(mask.allows(i, j, {}), group[std::size_t(i)] + shift == group[std::size_t(j)]);
  }
}

TEST(MaskWhere, TilesAgreeWithPairs) {
  softlook_test::expect_tiles_agree_with_pairs(
      masks::where([](std::int32_t i, std::int32_t j) { return (i * 7 + j) % 3 == 0; }));
}

}  // namespace
}  // namespace softlook::where_test
