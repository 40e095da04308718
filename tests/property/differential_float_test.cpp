#include "tests/property/differential.hpp"

namespace {

TEST(RandomCombinations, OfFloatAgreeWithTheOracle) {
  softlook_test::run_random_cases<float>(1, 2000);
}

// Disabled until the kernels multiply differences of scores, not scores, by log2 e.
TEST(RandomCombinations, OfFloatNearTheEndsOfItsRangeAgreeWithTheNaivePath) {
  softlook_test::run_cases<softlook_test::extreme_case<float>>(1, 400);
}

}  // namespace
