// bfloat16 as the upper half of a float, rounded in integers.
#pragma once

#include <bit>
#include <cstdint>

namespace oracle {

inline constexpr double unit_of_bfloat16 = 0x1p-8;  // half of a step of 8 bits, relative

/// Of a number, which NaN is not: ties go to the even one.
inline float nearest_bfloat16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rest = bits & 0xffff, above = bits - rest;
  const bool up = rest > 0x8000 || (rest == 0x8000 && (bits >> 16 & 1) != 0);
  return std::bit_cast<float>(above + (up ? 0x10000U : 0U));
}

}  // namespace oracle
