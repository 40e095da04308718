#include "tests/property/differential.hpp"

namespace {

TEST(RandomCombinations, OfFloatAgreeWithTheOracle) {
  softlook_test::run_random_cases<float>(1, 2000);
}

}  // namespace
