#include "softlook/mask/padding_by_sequence.hpp"

#include <gtest/gtest.h>

#include "softlook/mask/causal.hpp"
#include "softlook/mask/combine.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/mask_checks.hpp"

namespace softlook::padding_by_sequence_test {
namespace {

using softlook_test::answers;
using softlook_test::expect_error;

TEST(MaskPaddingBySequence, HidesTheKeysBehindTheLengthOfTheSequence) {
  const std::int32_t lengths[] = {4, 0, 6};
  const masks::padding_by_sequence mask(lengths);
  for (std::int32_t s = 0; s < 3; ++s) {
    const problem size{.queries = 3, .keys = 6, .sequence = s};
    EXPECT_NO_THROW(mask.check("attention", size));
    EXPECT_EQ(mask.key_range({0, 3}, size).count(), lengths[s]);
    for (std::int32_t j = 0; j < 6; ++j) {
      EXPECT_EQ(mask.allows(1, j, size), j < lengths[s]) << s << " " << j;
      for (index end = j + 1; end <= 6; ++end) {
        softlook_test::expect_true_coverage(mask, {0, 3}, {j, end}, size, answers::exact);
        softlook_test::expect_true_coverage(mask & masks::causal_top_left{}, {0, 3}, {j, end}, size,
                                            answers::correct);
      }
    }
  }
}

TEST(MaskPaddingBySequence, RejectsLengthsOutOfRangeAndTooFewOfThem) {
  const std::int32_t lengths[] = {4, 7, -1};
  const masks::padding_by_sequence mask(lengths);
  const auto check = [&](std::int32_t s) {
    return [=] { mask.check("attention", {.queries = 3, .keys = 6, .sequence = s}); };
  };
  expect_error<argument_error>(check(1), {"attention: masks::padding_by_sequence length is 7",
                                          "sequence 1", "number of keys, 6"});
  expect_error<argument_error>(check(2), {"length is -1", "sequence 2"});
  expect_error<shape_error>(check(3), {"lengths.size() is 3", "number of sequences is 4"});
}

}  // namespace
}  // namespace softlook::padding_by_sequence_test
