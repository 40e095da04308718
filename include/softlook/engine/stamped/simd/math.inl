// Exponentials and tanh of vectors.

template <class T>
inline constexpr T infinity = sizeof(T) == 4 ? T(__builtin_inff()) : T(__builtin_inf());

/// 2^n for the integer that `shifted` = n + rounder holds in its low bits; n = −127 (−1023) gives
/// 0.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> power_of_two(vec<T> shifted) {
  using c = math::detail::exp2_constants<T>;
  using bits = typename simd<T>::bits;
  return (vec<T>)(((bits)shifted << c::mantissa_bits) +
                  ((typename simd<T>::integer)c::bias << c::mantissa_bits));
}

/// 2^f − 1 = f·q(f), |f| ≤ 1/2.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> exp2_polynomial(vec<T> f) {
  using c = math::detail::exp2_constants<T>;
  vec<T> q = broadcast(c::q[0]);
#pragma GCC unroll 16
  for (int k = 1; k < int(sizeof(c::q) / sizeof(T)); ++k) q = fma(q, f, broadcast(c::q[k]));
  return q;
}

/// x = whole + rest with |rest| ≤ 1/2, and p·2^whole. Where they have instructions, these run
/// beside the multipliers, which the products need.
template <class T>
struct split_exponent {
#if SOFTLOOK_STAMP_SCALES
  vec<T> x, whole;
  SOFTLOOK_ALWAYS_INLINE vec<T> split(vec<T> from) {
    x = from;
    whole = round(x);
    return x - whole;
  }
  SOFTLOOK_ALWAYS_INLINE vec<T> scale(vec<T> p) const {
    return scaled_from(x, broadcast(math::detail::exp2_constants<T>::lowest), p, whole);
  }
#else
  vec<T> shifted;
  SOFTLOOK_ALWAYS_INLINE vec<T> split(vec<T> from) {
    const vec<T> rounder = broadcast(math::detail::exp2_constants<T>::rounder);
    shifted = from + rounder;
    SOFTLOOK_STAMP_OPAQUE(shifted);
    return from - (shifted - rounder);
  }
  SOFTLOOK_ALWAYS_INLINE vec<T> scale(vec<T> p) const { return p * power_of_two<T>(shifted); }
#endif
};

/// 2^x for x ≤ 0, for several vectors in step: chains of dependent operations one after the other
/// fill the processor's queues with waiting ones. Relative error below 1.7e-7 (float), 3e-16
/// (double); exact at 0; −∞ and everything below the smallest normal number give exactly 0; NaN
/// stays NaN.
template <class T, int Count>
SOFTLOOK_ALWAYS_INLINE void exp2_nonpositive(vec<T> (&x)[Count]) {
  using c = math::detail::exp2_constants<T>;
  split_exponent<T> exponent[Count];
  vec<T> q[Count];
#pragma GCC unroll 8
  for (int k = 0; k < Count; ++k) x[k] = exponent[k].split(max_of(broadcast(c::lowest - 1), x[k]));
  // exp2_polynomial, step by step.
#pragma GCC unroll 8
  for (int k = 0; k < Count; ++k) q[k] = broadcast(c::q[0]);
#pragma GCC unroll 16
  for (int d = 1; d < int(sizeof(c::q) / sizeof(T)); ++d)
#pragma GCC unroll 8
    for (int k = 0; k < Count; ++k) q[k] = fma(q[k], x[k], broadcast(c::q[d]));
#pragma GCC unroll 8
  for (int k = 0; k < Count; ++k) x[k] = exponent[k].scale(fma(q[k], x[k], broadcast(T(1))));
}

template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> exp2_nonpositive(vec<T> x) {
  vec<T> one[1] = {x};
  exp2_nonpositive<T, 1>(one);
  return one[0];
}

/// e^x = power·(1 + rest), |x| ≤ 87 (float), 708 (double). The argument is reduced in two parts:
/// x·log2 e alone would lose the low bits of a large x.
template <class T>
struct split_exponential {
  vec<T> power;
  vec<T> rest;
};

template <class T>
SOFTLOOK_ALWAYS_INLINE split_exponential<T> split_exp(vec<T> x) {
  using c = math::detail::exp2_constants<T>;
  vec<T> shifted = fma(x, broadcast(c::log2e), broadcast(c::rounder));
  SOFTLOOK_STAMP_OPAQUE(shifted);
  const vec<T> n = shifted - broadcast(c::rounder);
  const vec<T> r =
      negative_fma(n, broadcast(c::ln2_low), negative_fma(n, broadcast(c::ln2_high), x));
  const vec<T> f = fma(r, broadcast(c::log2e_rest), r * broadcast(c::log2e));
  return {power_of_two<T>(shifted), exp2_polynomial<T>(f) * f};
}

/// e^x within the same bounds. Relative error below 3e-7 (float), 5e-16 (double).
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> exp_bounded(vec<T> x) {
  const split_exponential<T> e = split_exp<T>(x);
  return fma(e.power, e.rest, e.power);
}

/// tanh x = −e / (2 + e) with e = e^{−2|x|} − 1, which the split keeps accurate near 0. Relative
/// error below 1e-6 (float), 1e-15 (double).
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> tanh_of(vec<T> x) {
  const vec<T> limit = broadcast(T(sizeof(T) == 4 ? 10 : 20));  // tanh rounds to 1 beyond
  const vec<T> size = select<T>(x < vec<T>{}, -x, x);
  const vec<T> bounded = select<T>(size < limit, size, limit);
  const split_exponential<T> s = split_exp<T>(bounded * broadcast(T(-2)));
  const vec<T> e = fma(s.power, s.rest, s.power - broadcast(T(1)));
  const vec<T> t = -e / (broadcast(T(2)) + e);
  return select<T>(x == x, select<T>(x < vec<T>{}, -t, t), x);
}
