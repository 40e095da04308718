#pragma once

#include <bit>
#include <cstdint>

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Division of positions (0 ≤ x < 2³¹) by a number known when the loop begins: a multiplication and
/// a shift, which vectorise.
/// \see Granlund and Montgomery, "Division by Invariant Integers using Multiplication", 1994,
///      theorem 4.2: with 2^L ≥ d the factor ⌈2^(31+L)/d⌉ is off by less than 2^L.
class divider {
 public:
  /// 1 ≤ d < 2³¹.
  constexpr explicit divider(std::int32_t d)
      : shift_(31 + static_cast<int>(std::bit_width(static_cast<std::uint32_t>(d) - 1))),
        factor_(((std::uint64_t{1} << shift_) + static_cast<std::uint64_t>(d) - 1) /
                static_cast<std::uint64_t>(d)) {}

  [[nodiscard]] constexpr std::int32_t operator()(std::int32_t x) const {
    return static_cast<std::int32_t>((static_cast<std::uint64_t>(x) * factor_) >> shift_);
  }

 private:
  int shift_;
  std::uint64_t factor_;  // < 2³²
};

/// Whether a number known when the loop begins divides x, without a division: the inverse of its
/// odd part modulo 2³² maps multiples, and only those, to the smallest numbers.
/// \see Granlund and Montgomery, 1994, section 9.
class divisibility {
 public:
  /// 1 ≤ d < 2³¹.
  constexpr explicit divisibility(std::int32_t d) {
    const int twos = std::countr_zero(static_cast<std::uint32_t>(d));
    const std::uint32_t odd = static_cast<std::uint32_t>(d) >> twos;
    below_ = (std::uint32_t{1} << twos) - 1;
    limit_ = ordered(~std::uint32_t{0} / odd);
    inverse_ = odd;  // right in its lowest 3 bits; each step doubles them
    for (int step = 0; step < 4; ++step) inverse_ *= 2 - odd * inverse_;
  }

  [[nodiscard]] constexpr bool divides(std::int32_t x) const {
    const std::uint32_t size = static_cast<std::uint32_t>(x < 0 ? -x : x);
    return ((size & below_) == 0) & (ordered(size * inverse_) <= limit_);
  }

 private:
  /// The order of unsigned numbers in signed ones: gcc 12 does not vectorise a mix of comparisons.
  [[nodiscard]] static constexpr std::int32_t ordered(std::uint32_t x) {
    return static_cast<std::int32_t>(x ^ 0x80000000u);
  }

  std::uint32_t below_ = 0;
  std::int32_t limit_ = 0;
  std::uint32_t inverse_ = 1;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
