#include "softlook/core/math.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::math_test {
namespace {

constexpr int samples = 200000;

// The numbers that core/math.hpp promises beside each function.
template <class T>
constexpr double exp_error_bound = std::is_same_v<T, float> ? 6e-7 : 1e-15;
template <class T>
constexpr double tanh_error_bound = std::is_same_v<T, float> ? 5e-7 : 1e-15;

template <class T>
class ScalarMath : public ::testing::Test {};
TYPED_TEST_SUITE(ScalarMath, softlook_test::scalars, softlook_test::scalar_names);

double relative_error(long double is, long double should_be) {
  if (is == should_be) return 0;
  return static_cast<double>(std::fabs(is - should_be) / std::fabs(should_be));
}

TYPED_TEST(ScalarMath, ExpKeepsItsErrorBound) {
  using T = TypeParam;
  auto random = softlook_test::seed(1);
  const double low = std::log(static_cast<double>(std::numeric_limits<T>::min()));
  const double high = std::log(static_cast<double>(std::numeric_limits<T>::max()));
  double worst = 0;
  for (int k = 0; k < samples; ++k) {
    const T x =
        static_cast<T>(k % 2 == 0 ? random.uniform(low * 0.999, high * 0.999) : random.normal());
    const double error = relative_error(math::exp(x), std::exp(static_cast<long double>(x)));
    ASSERT_TRUE(std::isfinite(error)) << x;
    worst = std::max(worst, error);
  }
  EXPECT_LE(worst, exp_error_bound<T>);
}

TYPED_TEST(ScalarMath, ExpHasTheRightLimits) {
  using T = TypeParam;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  EXPECT_EQ(math::exp(T(0)), T(1));
  EXPECT_EQ(math::exp(-T(0)), T(1));
  EXPECT_EQ(math::exp(-infinity), T(0));
  EXPECT_EQ(math::exp(infinity), infinity);
  EXPECT_EQ(math::exp(std::numeric_limits<T>::lowest()), T(0));
  EXPECT_EQ(math::exp(std::numeric_limits<T>::max()), infinity);
  EXPECT_TRUE(std::isnan(math::exp(std::numeric_limits<T>::quiet_NaN())));
}

TYPED_TEST(ScalarMath, TanhKeepsItsErrorBound) {
  using T = TypeParam;
  auto random = softlook_test::seed(2);
  double worst = 0;
  for (int k = 0; k < samples; ++k) {
    const double size = std::exp(random.uniform(std::log(1e-6), std::log(100.0)));
    const T x = static_cast<T>(random.chance(0.5) ? size : -size);
    const double error = relative_error(math::tanh(x), std::tanh(static_cast<long double>(x)));
    ASSERT_TRUE(std::isfinite(error)) << x;
    worst = std::max(worst, error);
  }
  EXPECT_LE(worst, tanh_error_bound<T>);
}

TYPED_TEST(ScalarMath, TanhHasTheRightLimits) {
  using T = TypeParam;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  EXPECT_EQ(math::tanh(T(0)), T(0));
  EXPECT_EQ(math::tanh(infinity), T(1));
  EXPECT_EQ(math::tanh(-infinity), T(-1));
  EXPECT_EQ(math::tanh(std::numeric_limits<T>::max()), T(1));
  EXPECT_TRUE(std::isnan(math::tanh(std::numeric_limits<T>::quiet_NaN())));
  const T tiny = std::numeric_limits<T>::min();
  EXPECT_LE(relative_error(math::tanh(tiny), tiny), tanh_error_bound<T>);
}

TYPED_TEST(ScalarMath, SigmoidIsSymmetric) {
  using T = TypeParam;
  EXPECT_EQ(math::sigmoid(T(0)), T(0.5));
  for (T x = T(-8); x <= T(8); x += T(0.25))
    EXPECT_NEAR(math::sigmoid(x) + math::sigmoid(-x), 1, 2 * tanh_error_bound<T>) << x;
}

TYPED_TEST(ScalarMath, SelectChooses) {
  using T = TypeParam;
  EXPECT_EQ(math::select(true, T(1), T(2)), T(1));
  EXPECT_EQ(math::select(false, T(1), T(2)), T(2));
}

TEST(ScalarMathOfOtherTypes, FallsBackToTheStandardLibrary) {
  EXPECT_EQ(math::exp(1.5L), std::exp(1.5L));
  EXPECT_EQ(math::tanh(0.3L), std::tanh(0.3L));
}

}  // namespace
}  // namespace softlook::math_test
