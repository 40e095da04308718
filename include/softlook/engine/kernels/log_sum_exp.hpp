#pragma once

#include <limits>

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

inline constexpr double log4_e = 0.72134752044448170368;

/// Natural log-sum-exp from a maximum in units of log 4 and the sum of the weights relative to it.
template <class T>
__attribute__((noinline)) inline T natural_log_sum_exp(T maximum, T sum) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  if (sum == 0) return -infinity;
  const double value =
      __builtin_fma(double(maximum), 1.38629436111989061883, __builtin_log(double(sum)));
  // The rounding of a maximum near the ends of the range must not leave it.
  constexpr T most = sizeof(T) == 4 ? T(__FLT_MAX__) : T(__DBL_MAX__);
  if (maximum > -infinity && maximum < infinity)
    return value > double(most) ? most : value < -double(most) ? -most : T(value);
  return T(value);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
