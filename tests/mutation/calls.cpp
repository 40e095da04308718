// Kills mutants of what attention runs: the random cases of tests/property, of float, in small
// sizes.
#include "tests/mutation/kernels.hpp"
//
#include <gtest/gtest.h>

#include "tests/property/backward_case.hpp"
#include "tests/property/call/cache_case.hpp"
#include "tests/property/differential.hpp"

namespace {

using softlook_test::soak_part;

template <class Case>
void run_small(std::uint64_t count) {
  for (std::uint64_t number = 1; number <= count && !::testing::Test::HasFailure(); ++number) {
    auto from = softlook_test::choices::drawn(number);
    Case(from, soak_part).check();
  }
}

TEST(Mutants, OfCallsAreSeen) {
  for (std::uint64_t number = 1; number <= 250; ++number) {
    auto from = softlook_test::choices::drawn(number);
    ASSERT_NO_THROW(softlook_test::call_case::run_any(from)) << number;
  }
}
TEST(Mutants, OfTheWayForwardAreSeen) { run_small<softlook_test::random_case<float>>(100); }
TEST(Mutants, OfTheWayBackAreSeen) { run_small<softlook_test::backward_case<float>>(40); }
TEST(Mutants, NearTheEndsOfTheRangeAreSeen) { run_small<softlook_test::extreme_case<float>>(100); }

}  // namespace
