#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "softlook/core/math.hpp"
#include "softlook/engine/run/packed_linear.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// f'(x)
template <class T>
[[nodiscard]] inline T slope_of(activation f, T x) {
  constexpr double root = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;  // √(2/π)
  switch (f) {
    case activation::relu:
      return x > 0 ? T(1) : T(0);
    case activation::gelu:
      return T(0.5) * std::erfc(-x * T(1 / std::numbers::sqrt2)) +
             x * math::exp(T(-0.5) * x * x) * T(root / 2);
    case activation::gelu_tanh: {
      const T t = math::tanh(T(root) * (x + T(0.044715) * x * x * x));
      const T inner = T(root) * (T(1) + T(3 * 0.044715) * x * x);
      return T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * inner;
    }
    case activation::silu: {
      const T s = math::sigmoid(x);
      return s * (T(1) + x * (T(1) - s));
    }
    case activation::none:
      break;
  }
  return T(1);
}

/// f of `count` numbers, in place.
template <class T>
void activate(activation f, instruction_set isa, T* data, index count) {
  const auto kernel = function_of(f, layers_of<T>(isa));
  if (!kernel) return;
  constexpr index whole = 64 / index(sizeof(T));  // whole vectors of any set
  const index many = count / whole * whole;
  kernel(data, many);
  T rest[std::size_t(whole)] = {};
  std::copy(data + many, data + count, rest);
  kernel(rest, whole);
  std::copy(rest, rest + (count - many), data + many);
}

/// dX = dY ∘ f'(X), all of `count` numbers.
template <class T>
void activation_backward(activation f, const T* X, const T* dY, T* dX, index count) {
  if (f == activation::none) {
    std::copy(dY, dY + count, dX);
  } else if (f == activation::relu) {
    for (index k = 0; k < count; ++k) {  // a selection, for signs are not predictable
      const T d = dY[k];
      dX[k] = X[k] > T(0) ? d : T(0);
    }
  } else {
    for (index k = 0; k < count; ++k) dX[k] = dY[k] * slope_of(f, X[k]);
  }
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
