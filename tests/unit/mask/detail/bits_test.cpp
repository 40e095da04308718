#include "softlook/mask/detail/bits.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/random.hpp"

namespace softlook::bits_test {
namespace {

struct bits {
  std::vector<bool> set;
  std::vector<std::uint32_t> words;

  explicit bits(std::vector<bool> which)
      : set(std::move(which)), words(std::size_t(detail::words_for(index(set.size()))) + 1) {
    for (std::size_t k = 0; k < set.size(); ++k)
      if (set[k]) words[k / 32] |= 1u << (k % 32);
  }
};

bits random_bits(std::size_t count, double share, softlook_test::generator& random) {
  std::vector<bool> which(count);
  for (std::size_t k = 0; k < count; ++k) which[k] = random.chance(share);
  return bits(which);
}

TEST(Bits, AreFoundWhereTheyWereSet) {
  auto random = softlook_test::seed(5);
  const bits b = random_bits(100, 0.5, random);
  for (std::int32_t k = 0; k < 100; ++k)
    EXPECT_EQ(detail::bit_at(b.words.data(), k), b.set[std::size_t(k)]) << k;
}

TEST(Bits, EveryRangeOfThemIsNoneSomeOrAll) {
  auto random = softlook_test::seed(6);
  for (const double share : {0.0, 0.02, 0.5, 0.98, 1.0}) {
    const bits b = random_bits(100, share, random);
    for (index begin = 0; begin <= 100; ++begin) {
      for (index end = begin; end <= 100; ++end) {
        index live = 0;
        for (index k = begin; k < end; ++k) live += b.set[std::size_t(k)] ? 1 : 0;
        const coverage expected = live == 0             ? coverage::none
                                  : live == end - begin ? coverage::full
                                                        : coverage::partial;
        ASSERT_EQ(detail::bits_set(b.words.data(), {begin, end}), expected)
            << begin << " to " << end;
      }
    }
  }
}

TEST(Bits, SpanReachesFromTheFirstToTheLast) {
  for (index first = 0; first < 70; ++first) {
    for (index last = first; last < 70; ++last) {
      std::vector<bool> which(70);
      which[std::size_t(first)] = which[std::size_t(last)] = true;
      ASSERT_EQ(detail::span_of_bits(bits(which).words.data(), 70), (range{first, last + 1}));
    }
  }
}

TEST(Bits, SpanOfNoneIsEmpty) {
  EXPECT_TRUE(detail::span_of_bits(bits(std::vector<bool>(70)).words.data(), 70).empty());
  EXPECT_TRUE(detail::span_of_bits(nullptr, 0).empty());
}

}  // namespace
}  // namespace softlook::bits_test
