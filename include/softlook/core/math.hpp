#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <type_traits>

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup core
/// \{

/// Branch-free scalar functions for users' score functors. A loop over them vectorises at -O2 where
/// one over std::tanh or over an `if` does not. Types other than float and double fall back to std.
namespace math {

/// condition ? a : b, both evaluated.
template <class T>
[[nodiscard]] constexpr T select(bool condition, T a, T b) {
  return condition ? a : b;
}

namespace detail {

template <class T>
struct exp2_constants;

// 2^f - 1 = f·q(f) on [-1/2, 1/2]: minimax for the relative error of 2^f, 9.2e-8.
template <>
struct exp2_constants<float> {
  using bits = std::uint32_t;
  static constexpr float q[] = {0x1.5bba18p-10f, 0x1.3cea88p-7f, 0x1.c6b750p-5f, 0x1.ebf9c0p-3f,
                                0x1.62e42ap-1f};
  static constexpr float rounder = 0x1.8p23f;
  static constexpr float lowest = -126.0f, highest = 127.0f;
  static constexpr float log2e = 0x1.715476p0f, log2e_rest = 0x1.4ae0c0p-26f;
  static constexpr float ln2_high = 0x1.62e400p-1f, ln2_low = 0x1.7f7d1cp-20f;
  static constexpr int mantissa_bits = 23, bias = 127;
};

// The same with an error of 1.8e-17.
template <>
struct exp2_constants<double> {
  using bits = std::uint64_t;
  static constexpr double q[] = {
      4.0780825360861861517e-10, 7.0725703207584155167e-9,   1.0180647576596453048e-7,
      1.3215442675797238875e-6,  0.000015252727385427634649, 0.00015403530441571379487,
      0.0013333558153439677232,  0.0096181291076070028225,   0.055504108664790395991,
      0.24022650695910098006,    0.69314718055994569673};
  static constexpr double rounder = 0x1.8p52;
  static constexpr double lowest = -1022.0, highest = 1023.0;
  static constexpr double log2e = 0x1.71547652b82fep0, log2e_rest = 0x1.777d0ffda0d24p-56;
  static constexpr double ln2_high = 0x1.62e42fefa3800p-1, ln2_low = 0x1.ef35793c76730p-45;
  static constexpr int mantissa_bits = 52, bias = 1023;
};

/// e^x = power·(1 + rest) with power = 2^n exact and |rest| < 0.42; |x| ≤ 87 (float), 708 (double).
template <class T>
struct split_exponential {
  T power;
  T rest;
};

template <class T>
[[nodiscard]] constexpr split_exponential<T> split_exp(T x) {
  using c = exp2_constants<T>;
  using bits = typename c::bits;
  const T shifted = x * c::log2e + c::rounder;
  const T n = shifted - c::rounder;
  // x - n·ln 2 in two parts keeps the bits that x·log2 e would round away.
  const T r = (x - n * c::ln2_high) - n * c::ln2_low;
  const T f = r * c::log2e + r * c::log2e_rest;
  T q = c::q[0];
  for (int k = 1; k < int(std::size(c::q)); ++k) q = q * f + c::q[k];
  const bits power = (std::bit_cast<bits>(shifted) + bits(c::bias)) << c::mantissa_bits;
  return {std::bit_cast<T>(power), f * q};
}

/// x with a magnitude of at most `limit`; NaN stays NaN. On bits, because gcc follows the constant
/// arm of a floating-point ?: through the rest of the function, and a loop with that branch is not
/// vectorised.
template <class T>
[[nodiscard]] constexpr T limited(T x, T limit) {
  using bits = typename exp2_constants<T>::bits;
  constexpr bits sign = bits(1) << (8 * sizeof(bits) - 1);
  constexpr bits infinite = std::bit_cast<bits>(std::numeric_limits<T>::infinity());
  const bits most = std::bit_cast<bits>(limit), all = std::bit_cast<bits>(x), size = all & ~sign;
  const bits beyond = bits(0) - bits(size - most - 1 <= infinite - most - 1);
  return std::bit_cast<T>((all & (sign | ~beyond)) | (most & beyond));
}

/// tanh x = x·P(x²)/Q(x²) on [-9.02, 9.02], where it rounds to 1 at the end: minimax but for a
/// little too much there. Integers compare what may be NaN, as in limited().
[[nodiscard]] inline float rational_tanh(float x) {
  constexpr auto bits_of = [](float y) { return std::bit_cast<std::int32_t>(y); };
  constexpr std::int32_t sign = std::numeric_limits<std::int32_t>::min();
  constexpr std::int32_t limit = bits_of(9.02f), one = bits_of(1.0f);
  constexpr std::int32_t infinite = bits_of(std::numeric_limits<float>::infinity());
  const std::int32_t all = bits_of(x), size = all & ~sign;
  const float y = std::bit_cast<float>(size < limit ? size : limit), z = y * y;
  const float p =
      (((0x1.680468p-27f * z + 0x1.379de6p-16f) * z + 0x1.ba5f82p-9f) * z + 0x1.0ffe3p-3f) * z + 1;
  const float q =
      (((0x1.62cd2ep-21f * z + 0x1.439842p-12f) * z + 0x1.a085b4p-6f) * z + 0x1.dd547ep-2f) * z + 1;
  const std::int32_t t = bits_of(y * p / q);
  const std::int32_t nan = -std::int32_t(size > infinite);
  return std::bit_cast<float>((t < one ? t : one) | nan | (all & sign));
}

}  // namespace detail

/// e^x, with gradual underflow. float: relative error below 6e-7, double: below 1e-15.
template <class T>
[[nodiscard]] inline T exp(T x) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    constexpr T limit = std::is_same_v<T, float> ? T(105) : T(747);
    const T inside = detail::limited(x, limit);
    // Halved so that 2^n is representable over the whole range; the square is 0 or ∞ at its ends.
    const auto [power, rest] = detail::split_exp(T(0.5) * inside);
    const T root = power + power * rest;
    return root * root;
  } else {
    using std::exp;
    return exp(x);
  }
}

/// tanh x. float: relative error below 5e-7, double: below 1e-15.
template <class T>
[[nodiscard]] inline T tanh(T x) {
  if constexpr (std::is_same_v<T, float>) {
    return detail::rational_tanh(x);
  } else if constexpr (std::is_same_v<T, double>) {
    constexpr T limit = 20;  // tanh rounds to 1 beyond
    const auto [power, rest] = detail::split_exp(T(-2) * std::abs(detail::limited(x, limit)));
    const T exponential_minus_one = power * rest + (power - T(1));
    const T t = exponential_minus_one / (T(2) + exponential_minus_one);
    return std::copysign(t, x);
  } else {
    using std::tanh;
    return tanh(x);
  }
}

/// The logistic function:
///   1 / (1 + e^−x) = (1 + tanh(x/2)) / 2
template <class T>
[[nodiscard]] inline T sigmoid(T x) {
  return T(0.5) + T(0.5) * math::tanh(T(0.5) * x);
}

}  // namespace math

/// \}

SOFTLOOK_NAMESPACE_END
