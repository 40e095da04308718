#include "tests/property/differential.hpp"

namespace {

TEST(RandomCombinations, OfDoubleAgreeWithTheOracle) {
  softlook_test::run_random_cases<double>(100001, 2000);
}

// Disabled until the kernels multiply differences of scores, not scores, by log2 e.
TEST(RandomCombinations, OfDoubleNearTheEndsOfItsRangeAgreeWithTheNaivePath) {
  softlook_test::run_cases<softlook_test::extreme_case<double>>(1, 400);
}

}  // namespace
