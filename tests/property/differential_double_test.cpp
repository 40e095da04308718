#include "tests/property/differential.hpp"

namespace {

TEST(RandomCombinations, OfDoubleAgreeWithTheOracle) {
  softlook_test::run_random_cases<double>(100001, 2000);
}

TEST(RandomCombinations, OfDoubleNearTheEndsOfItsRangeAgreeWithTheNaivePath) {
  softlook_test::run_cases<softlook_test::extreme_case<double>>(1, 400);
}

}  // namespace
