#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

using philox_counter = std::array<std::uint32_t, 4>;
using philox_key = std::array<std::uint32_t, 2>;

/// Philox 4×32-10: a bijection of 128-bit counters for each key, whose images pass as independent
/// random words. No state, so any thread may ask for any element.
/// \see Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011, section 4.
[[nodiscard]] constexpr philox_counter philox(philox_counter c, philox_key k) {
  constexpr std::uint64_t multiplier0 = 0xD2511F53u, multiplier1 = 0xCD9E8D57u;
  constexpr std::uint32_t weyl0 = 0x9E3779B9u, weyl1 = 0xBB67AE85u;
  constexpr int rounds = 10;
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t product0 = multiplier0 * c[0], product1 = multiplier1 * c[2];
    c = {static_cast<std::uint32_t>(product1 >> 32) ^ c[1] ^ k[0],
         static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32) ^ c[3] ^ k[1],
         static_cast<std::uint32_t>(product0)};
    k = {k[0] + weyl0, k[1] + weyl1};
  }
  return c;
}

/// The random words of a (query, key) pair of a head.
[[nodiscard]] constexpr philox_counter random_words(std::uint64_t seed, std::uint32_t head,
                                                    std::uint32_t i, std::uint32_t j) {
  return philox({j, i, head, 0},
                {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
}

/// Uniform in the open interval (0, 1), of 52 random bits, never 0 or 1.
[[nodiscard]] constexpr double open_uniform(const philox_counter& words) {
  const std::uint64_t bits = (std::uint64_t(words[0]) << 20) | (words[1] >> 12);
  return (double(bits) + 0.5) * 0x1p-52;
}

/// Standard Gumbel noise of a pair: the largest of s_j + noise is at j with probability
/// softmax(s)_j.
[[nodiscard]] inline double gumbel(std::uint64_t seed, std::uint32_t head, std::uint32_t i,
                                   std::uint32_t j) {
  return -std::log(-std::log(open_uniform(random_words(seed, head, i, j))));
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
