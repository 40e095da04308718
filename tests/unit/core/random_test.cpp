#include "softlook/core/random.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace softlook::random_test {
namespace {

using detail::philox;
using detail::philox_counter;

// Known answers of Random123 (D. E. Shaw Research, release 1.14, tests/kat_vectors, philox4x32 10).
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (philox_counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (philox_counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (philox_counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomWords, DifferInEveryIndex) {
  std::set<philox_counter> seen;
  for (std::uint64_t seed : {0ull, 1ull, 1ull << 32})
    for (std::uint32_t head = 0; head < 3; ++head)
      for (std::uint32_t i = 0; i < 4; ++i)
        for (std::uint32_t j = 0; j < 5; ++j) seen.insert(detail::random_words(seed, head, i, j));
  EXPECT_EQ(seen.size(), std::size_t(3 * 3 * 4 * 5));
}

TEST(OpenUniform, NeverReachesItsEnds) {
  constexpr std::uint32_t all = 0xffffffff;
  EXPECT_GT(detail::open_uniform({0, 0, 0, 0}), 0);
  EXPECT_LT(detail::open_uniform({all, all, all, all}), 1);
}

TEST(Gumbel, HasItsMeanAndVariance) {
  constexpr int count = 100000;
  double sum = 0, squares = 0;
  for (int i = 0; i < count; ++i) {
    const double g = detail::gumbel(5, 0, 0, static_cast<std::uint32_t>(i));
    ASSERT_TRUE(std::isfinite(g));
    sum += g;
    squares += g * g;
  }
  constexpr double euler = 0.57721566490153286, pi = 3.14159265358979324;
  const double mean = sum / count, variance = squares / count - mean * mean;
  const double expected_variance = pi * pi / 6;
  const double five_sigma = 5 * std::sqrt(expected_variance / count);
  EXPECT_NEAR(mean, euler, five_sigma);
  // The fourth central moment of a Gumbel variable is 5.4 times its variance squared.
  EXPECT_NEAR(variance, expected_variance, 5 * expected_variance * std::sqrt(4.4 / count));
}

}  // namespace
}  // namespace softlook::random_test
