#include "tests/property/backward_case.hpp"

namespace {

using softlook_test::backward_case;

TEST(RandomWaysBack, OfFloatAgreeWithTheFormulas) {
  softlook_test::run_cases<backward_case<float>>(1, 200);
}
TEST(RandomWaysBack, OfDoubleAgreeWithTheFormulas) {
  softlook_test::run_cases<backward_case<double>>(1001, 80);
}
TEST(RandomWaysBack, ThatFailedBeforeAgree) {
  softlook_test::run_kept_cases<backward_case<float>>("backward_float");
  softlook_test::run_kept_cases<backward_case<double>>("backward_double");
}

}  // namespace
