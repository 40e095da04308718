#pragma once

#include <cmath>

#include "softlook/core/error.hpp"
#include "softlook/core/types.hpp"

// What numbers of 8 bits with a scale have in common, rows of a cache and weights of a layer.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// \throws argument_error  for a number that 8 bits with a scale cannot hold.
template <class T>
void check_finite(const char* where, const char* name, const matrix_view<T>& X) {
  for (index i = 0; i < X.rows; ++i)
    for (index c = 0; c < X.cols; ++c)
      if (!std::isfinite(X(i, c)))
        raise<argument_error>(formatted("%s: %s(%td, %td) is %g (numbers of 8 bits are finite)",
                                        where, name, i, c, double(X(i, c)))
                                  .text);
}

/// The scale of numbers up to `most`. Below the normal numbers it would lose the bits that the
/// quotient needs, and is 0, as all of them are.
[[nodiscard]] inline float scale_of_8_bits(float most) {
  const float scale = most / 127;
  return scale < 1e-36F ? 0 : scale;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
