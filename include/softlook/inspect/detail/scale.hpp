#pragma once

#include <algorithm>
#include <cmath>

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail::drawing {

/// A colour scale: 0 at `lowest`, 1 at `highest`.
struct scale {
  double lowest = 0;
  double highest = 0;
  /// In halves, because highest − lowest may overflow; half of a tiny difference may be none.
  [[nodiscard]] double operator()(double x) const {
    const double all = highest / 2 - lowest / 2;
    return all > 0 ? std::clamp((x / 2 - lowest / 2) / all, 0.0, 1.0) : 0.0;
  }
  /// The number at t in [0, 1], without the difference of the ends, which may overflow.
  [[nodiscard]] double at(double t) const { return lowest * (1 - t) + highest * t; }
  /// Decimals that tell its ends and its middle apart: of a difference that is no number, the
  /// least.
  [[nodiscard]] int decimals() const {
    if (highest / 2 - lowest / 2 > 1) return 2;
    return static_cast<int>(std::clamp(1 - std::floor(std::log10(highest - lowest)), 2.0, 17.0));
  }
};

}  // namespace detail::drawing
SOFTLOOK_NAMESPACE_END
