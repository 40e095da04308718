#include "tests/property/differential.hpp"

namespace {

TEST(RandomCombinations, OfDoubleAgreeWithTheOracle) {
  softlook_test::run_random_cases<double>(100001, 2000);
}

}  // namespace
