#include "softlook/mask/of_heads.hpp"

#include <gtest/gtest.h>

#include "tests/support/errors.hpp"
#include "tests/support/mask_checks.hpp"

namespace softlook::of_heads_test {
namespace {

using softlook_test::expect_error;

TEST(MaskOfHeads, AllowsEverythingInItsHeadsAndNothingInOthers) {
  const masks::of_heads mask{.every = 3, .first = 1};
  for (std::int32_t head = 0; head < 7; ++head) {
    const problem size{.queries = 4, .keys = 5, .head = head, .heads = 7};
    const bool live = head == 1 || head == 4;
    EXPECT_EQ(mask.allows(3, 2, size), live);
    EXPECT_EQ(mask.coverage_of({0, 4}, {0, 5}, size), live ? coverage::full : coverage::none);
    EXPECT_EQ(mask.key_range({0, 4}, size).count(), live ? 5 : 0);
    softlook_test::expect_range_holds_every_allowed_key(mask, {0, 4}, size);
  }
}

TEST(MaskOfHeads, AcceptsTheFirstAndTheLastOfItsHeads) {
  EXPECT_NO_THROW((masks::of_heads{.every = 2, .first = 0}.check("attention", {})));
  EXPECT_NO_THROW((masks::of_heads{.every = 2, .first = 1}.check("attention", {})));
  EXPECT_NO_THROW((masks::of_heads{.every = 1}.check("attention", {})));
}

TEST(MaskOfHeads, RejectsHeadsThatCannotOccur) {
  expect_error<argument_error>([] { masks::of_heads{.every = 0}.check("attention", {}); },
                               {"attention: masks::of_heads.every is 0"});
  expect_error<argument_error>(
      [] { masks::of_heads{.every = 2, .first = 2}.check("attention", {}); },
      {"masks::of_heads.first is 2", "between 0 and every - 1 = 1"});
  expect_error<argument_error>(
      [] { masks::of_heads{.every = 2, .first = -1}.check("attention", {}); },
      {"masks::of_heads.first is -1"});
}

}  // namespace
}  // namespace softlook::of_heads_test
