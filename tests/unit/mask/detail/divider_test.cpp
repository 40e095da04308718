#include "softlook/mask/detail/divider.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "tests/support/random.hpp"

namespace softlook::divider_test {
namespace {

constexpr std::int32_t largest = std::numeric_limits<std::int32_t>::max();

std::vector<std::int32_t> divisors() {
  std::vector<std::int32_t> all;
  for (std::int32_t d = 1; d <= 300; ++d) all.push_back(d);
  for (int shift = 9; shift < 31; ++shift)
    for (std::int32_t near : {-1, 0, 1}) all.push_back((std::int32_t{1} << shift) + near);
  for (std::int32_t d : {1'000'000'007, largest - 1, largest}) all.push_back(d);
  return all;
}

/// Numbers on both sides of a multiple are where a quotient goes wrong first.
std::vector<std::int32_t> numbers_for(std::int32_t d, softlook_test::generator& random) {
  std::vector<std::int32_t> all = {0, 1, largest - 1, largest};
  for (int k = 0; k < 200; ++k) {
    const std::int64_t multiple = random.integer(0, largest / d) * std::int64_t{d};
    for (std::int64_t near : {multiple - 1, multiple, multiple + 1})
      if (near >= 0 && near <= largest) all.push_back(static_cast<std::int32_t>(near));
  }
  return all;
}

TEST(Divider, IsDivisionForEveryNonNegativeNumber) {
  auto random = softlook_test::seed(3);
  for (const std::int32_t d : divisors()) {
    const detail::divider over(d);
    for (const std::int32_t x : numbers_for(d, random))
      ASSERT_EQ(over(x), x / d) << x << " / " << d;
  }
}

TEST(Divisibility, IsARemainderOfZeroOnBothSidesOfZero) {
  auto random = softlook_test::seed(4);
  for (const std::int32_t d : divisors()) {
    const detail::divisibility by(d);
    for (const std::int32_t x : numbers_for(d, random)) {
      ASSERT_EQ(by.divides(x), x % d == 0) << x << " / " << d;
      ASSERT_EQ(by.divides(-x), x % d == 0) << -x << " / " << d;
    }
  }
}

}  // namespace
}  // namespace softlook::divider_test
