#include "tests/property/differential.hpp"

namespace {

using softlook_test::extreme_case;
using softlook_test::random_case;

TEST(RandomCombinations, OfDoubleAgreeWithTheOracle) {
  softlook_test::run_cases<random_case<double>>(100001, 2000);
}

TEST(RandomCombinations, OfDoubleNearTheEndsOfItsRangeAgreeWithTheNaivePath) {
  softlook_test::run_cases<extreme_case<double>>(1, 400);
}

TEST(RandomCombinations, OfDoubleThatFailedBeforeAgree) {
  softlook_test::run_kept_cases<random_case<double>>("forward_double");
  softlook_test::run_kept_cases<extreme_case<double>>("extreme_double");
}

}  // namespace
