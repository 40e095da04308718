#include "tests/property/differential.hpp"

namespace {

TEST(RandomCombinations, OfFloatAgreeWithTheOracle) {
  softlook_test::run_random_cases<float>(1, 2000);
}

TEST(RandomCombinations, OfFloatNearTheEndsOfItsRangeAgreeWithTheNaivePath) {
  softlook_test::run_cases<softlook_test::extreme_case<float>>(1, 400);
}

}  // namespace
