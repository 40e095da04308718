#pragma once

#include <cmath>
#include <limits>

#include "softlook/core/config.hpp"

// The state of an online softmax over numbers, in natural units.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

#include "softlook/engine/stamped/softmax/softmax_state.inl"

template <class T>
struct natural_algebra {
  using value = T;
  [[nodiscard]] static value nothing() { return -std::numeric_limits<T>::infinity(); }
  [[nodiscard]] static value zero() { return 0; }
  [[nodiscard]] static value exp(value x) { return std::exp(x); }
  [[nodiscard]] static value finite(value top) { return top == nothing() ? T(0) : top; }
  [[nodiscard]] static value multiply_add(value a, value b, value c) { return a * b + c; }
  [[nodiscard]] static value reciprocal_or_one(value x) { return x == 0 ? T(1) : 1 / x; }
};

template <class T>
using natural_softmax = softmax_state<natural_algebra<T>>;

}  // namespace detail
SOFTLOOK_NAMESPACE_END
