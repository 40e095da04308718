#pragma once

#include <limits>

#include "softlook/core/concepts.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Keys with low <= j - i <= high: the shape of causal masks and windows. The distance of two
/// positions always fits std::int32_t; a position plus an offset need not.
struct band {
  using policy_kind = mask_kind;
  static constexpr std::int32_t unbounded = std::numeric_limits<std::int32_t>::max();
  std::int32_t low = -unbounded;
  std::int32_t high = unbounded;

  [[nodiscard]] static constexpr std::int32_t clamp(index x) {
    return static_cast<std::int32_t>(std::clamp<index>(x, -unbounded, unbounded));
  }
  [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem) const {
    return ((j - i) >= low) & ((j - i) <= high);
  }
  [[nodiscard]] constexpr range key_range(range q, problem p) const {
    return intersection({q.begin + low, q.end + high}, {0, p.keys});
  }
  [[nodiscard]] constexpr coverage coverage_of(range q, range k, problem) const {
    const index nearest = k.begin - (q.end - 1), farthest = (k.end - 1) - q.begin;
    if (low > high || nearest > high || farthest < low) return coverage::none;
    return nearest >= low && farthest <= high ? coverage::full : coverage::partial;
  }
};

}  // namespace detail

SOFTLOOK_NAMESPACE_END
