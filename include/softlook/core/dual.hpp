#pragma once

#include <cmath>
#include <type_traits>

#include "softlook/core/math.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace math {

/// \addtogroup core
/// \{

/// A number and its derivative: what is computed with it carries the derivative along (forward
/// mode). A function of scores that takes `auto` is given one when its gradient is asked for.
/// \see Griewank and Walther, "Evaluating Derivatives", 2008, chapter 3.
template <class T>
struct dual {
  T value = 0;
  T derivative = 0;

  constexpr dual() = default;
  template <class N>
    requires std::is_arithmetic_v<N>
  constexpr dual(N n) : value(static_cast<T>(n)) {}  // a constant: as a T would take it
  constexpr dual(T v, T d) : value(v), derivative(d) {}

  friend constexpr dual operator+(dual a) { return a; }
  friend constexpr dual operator-(dual a) { return {-a.value, -a.derivative}; }
  friend constexpr dual operator+(dual a, dual b) {
    return {a.value + b.value, a.derivative + b.derivative};
  }
  friend constexpr dual operator-(dual a, dual b) {
    return {a.value - b.value, a.derivative - b.derivative};
  }
  friend constexpr dual operator*(dual a, dual b) {
    return {a.value * b.value, a.derivative * b.value + a.value * b.derivative};
  }
  friend constexpr dual operator/(dual a, dual b) {
    const T quotient = a.value / b.value;
    return {quotient, (a.derivative - quotient * b.derivative) / b.value};
  }
  constexpr dual& operator+=(dual b) { return *this = *this + b; }
  constexpr dual& operator-=(dual b) { return *this = *this - b; }
  constexpr dual& operator*=(dual b) { return *this = *this * b; }
  constexpr dual& operator/=(dual b) { return *this = *this / b; }
  friend constexpr bool operator==(dual a, dual b) { return a.value == b.value; }
  friend constexpr bool operator!=(dual a, dual b) { return a.value != b.value; }
  friend constexpr bool operator<(dual a, dual b) { return a.value < b.value; }
  friend constexpr bool operator>(dual a, dual b) { return a.value > b.value; }
  friend constexpr bool operator<=(dual a, dual b) { return a.value <= b.value; }
  friend constexpr bool operator>=(dual a, dual b) { return a.value >= b.value; }
};

template <class T>
[[nodiscard]] inline dual<T> exp(dual<T> x) {
  const T e = math::exp(x.value);
  return {e, e * x.derivative};
}
template <class T>
[[nodiscard]] inline dual<T> tanh(dual<T> x) {
  const T t = math::tanh(x.value);
  return {t, (T(1) - t * t) * x.derivative};
}
/// The functions of the standard library, found by their argument.
template <class T>
[[nodiscard]] inline dual<T> log(dual<T> x) {
  return {std::log(x.value), x.derivative / x.value};
}
template <class T>
[[nodiscard]] inline dual<T> sqrt(dual<T> x) {
  const T root = std::sqrt(x.value);
  return {root, x.derivative / (T(2) * root)};
}
template <class T>
[[nodiscard]] inline dual<T> abs(dual<T> x) {
  return x.value < T(0) ? -x : x;
}
template <class T>
[[nodiscard]] inline dual<T> sin(dual<T> x) {
  return {std::sin(x.value), std::cos(x.value) * x.derivative};
}
template <class T>
[[nodiscard]] inline dual<T> cos(dual<T> x) {
  return {std::cos(x.value), -std::sin(x.value) * x.derivative};
}

/// \}

}  // namespace math
SOFTLOOK_NAMESPACE_END
