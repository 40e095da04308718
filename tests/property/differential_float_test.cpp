#include "tests/property/differential.hpp"

namespace {

using softlook_test::extreme_case;
using softlook_test::random_case;

TEST(RandomCombinations, OfFloatAgreeWithTheOracle) {
  softlook_test::run_cases<random_case<float>>(1, 2000);
}

TEST(RandomCombinations, OfFloatNearTheEndsOfItsRangeAgreeWithTheNaivePath) {
  softlook_test::run_cases<extreme_case<float>>(1, 400);
}

TEST(RandomCombinations, OfFloatThatFailedBeforeAgree) {
  softlook_test::run_kept_cases<random_case<float>>("forward_float");
  softlook_test::run_kept_cases<extreme_case<float>>("extreme_float");
}

}  // namespace
