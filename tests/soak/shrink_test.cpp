#include "tests/soak/shrink.hpp"

#include <gtest/gtest.h>

#include "tests/support/choices.hpp"

namespace softlook_soak {
namespace {

using softlook_test::choices;

/// A case of up to 40 numbers below 1000, which fails where one of at least 137 comes before one
/// above 900.
std::optional<decisions> planted(const decisions& from) {
  choices in = choices::kept(from);
  const auto count = in.below(41);
  bool first = false, failed = false;
  for (std::uint64_t k = 0; k < count; ++k) {
    const auto x = in.below(1000);
    failed = failed || (first && x > 900);
    first = first || x >= 137;
  }
  decisions taken;
  for (const auto& d : in.taken()) taken.push_back(d.value);
  return failed ? std::optional(taken) : std::nullopt;
}

TEST(Shrinker, FindsTheLeastCase) {
  int shrunk = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    softlook_test::generator random(seed);
    decisions drawn(41);
    for (auto& x : drawn) x = random.bits();
    const auto start = planted(drawn);
    if (!start) continue;
    ++shrunk;
    EXPECT_EQ(shrinker(planted, 5000)(*start), (decisions{2, 137, 901})) << seed;
  }
  EXPECT_GT(shrunk, 10);
}

TEST(Shrinker, EndsWithItsAttempts) {
  int asked = 0;
  const attempt always = [&](const decisions& d) {
    ++asked;
    return std::optional(d);
  };
  EXPECT_TRUE(shrinker(always, 1000)(decisions(100, 7)).empty());
  asked = 0;
  shrinker([&](const decisions&) { return ++asked, std::nullopt; }, 50)(decisions(100, 7));
  EXPECT_EQ(asked, 50);
}

TEST(Choices, AreTheSameFromASeedAListAndBytes) {
  const auto draw = [](choices in) {
    (void)(in.byte() + in.word());
    (void)in.integer(-3, 90);
    (void)in.chance(0.3);
    (void)in.below(1000000);
    return in.taken();
  };
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const auto drawn = draw(choices::drawn(seed));
    decisions values;
    for (const auto& d : drawn) values.push_back(d.value);
    const auto bytes = softlook_test::bytes_of(drawn);
    const auto same = [&](const auto& other) {
      ASSERT_EQ(other.size(), drawn.size());
      for (std::size_t k = 0; k < drawn.size(); ++k) EXPECT_EQ(other[k].value, drawn[k].value);
    };
    same(draw(choices::kept(values)));
    same(draw(choices::of_bytes(bytes)));
  }
}

TEST(Choices, AreZeroBehindTheEnd) {
  choices in = choices::kept({5});
  EXPECT_EQ(in.below(3), 2U);
  EXPECT_TRUE(in.done());
  EXPECT_EQ(in.integer(4, 9), 4);
  EXPECT_FALSE(in.chance(0.999));
}

}  // namespace
}  // namespace softlook_soak
