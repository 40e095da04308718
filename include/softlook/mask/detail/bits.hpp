#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Bits in words of 32, as a mask keeps what it looks up.
inline constexpr index bits_of_word = 32;

[[nodiscard]] constexpr index words_for(index bits) {
  return (bits + bits_of_word - 1) / bits_of_word;
}

[[nodiscard]] constexpr bool bit_at(const std::uint32_t* words, std::int32_t k) {
  return ((words[k >> 5] >> (k & 31)) & 1u) != 0;
}

/// Which bits of [begin, end) are set: none, some or all. Of an empty range none.
[[nodiscard]] constexpr coverage bits_set(const std::uint32_t* words, range bits) {
  std::uint32_t any = 0, missing = 0;
  for (index at = bits.begin; at < bits.end; at = (at / bits_of_word + 1) * bits_of_word) {
    const index word = at / bits_of_word;
    const index last = std::min(bits.end - word * bits_of_word, bits_of_word);
    const std::uint32_t above = ~std::uint32_t{0} << (at % bits_of_word);
    const std::uint32_t below = ~std::uint32_t{0} >> (bits_of_word - last);
    any |= words[word] & above & below;
    missing |= ~words[word] & above & below;
  }
  if (any == 0) return coverage::none;
  return missing == 0 ? coverage::full : coverage::partial;
}

/// From the first to behind the last bit that is set in [0, count).
[[nodiscard]] constexpr range span_of_bits(const std::uint32_t* words, index count) {
  range span{count, 0};
  for (index word = 0; word < words_for(count); ++word) {
    if (words[word] == 0) continue;
    const index first = word * bits_of_word;
    span.begin = std::min(span.begin, first + std::countr_zero(words[word]));
    span.end = first + bits_of_word - std::countl_zero(words[word]);
  }
  return span.empty() ? range{} : span;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
