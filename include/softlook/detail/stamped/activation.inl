// Activations of vectors.

/// x·Φ(x). With t = |x|/√2 and h = e^{−t²}·(e^{t²} erfc t)/2:  x·h for x < 0, x·(1 − h) otherwise,
/// so that the tails keep their relative accuracy, which e^{−t²} as one power of two limits to 1 +
/// x² times the rounding. Relative error below 4e-7·(1 + x²) for x < 0, 3e-7 otherwise (float);
/// 1e-15 and 6e-16 (double). −∞ gives 0.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> gelu_of(vec<T> x) {
  using c = scaled_erfc<T>;
  const vec<T> limit = spread(c::limit), centre = spread(c::centre), zero = {};
  const vec<T> size = blend<T>(x < zero, -x, x) * spread(T(0.70710678118654752440));
  const vec<T> t = blend<T>(size < limit, size, limit);
  const vec<T> r = spread(T(1)) / (t + centre);
  const vec<T> s = (t - centre) * r;
  vec<T> p = spread(c::p[0]);
#pragma GCC unroll 32
  for (int k = 1; k < int(sizeof(c::p) / sizeof(T)); ++k) p = fused(p, s, spread(c::p[k]));
  const vec<T> e = exp2_nonpositive<T>(t * (t * spread(T(-1.4426950408889634074))));
  const vec<T> h = e * (p * (r * centre));
  const vec<T> left = blend<T>(size < limit, x * h, zero);  // −∞·0 would be NaN
  return blend<T>(x < zero, left, x * (spread(T(1)) - h));
}

/// x·(1 + tanh u)/2 = x/(1 + e^{−2u}), u = √(2/π)·(x + 0.044715·x³). Relative error below 3ε for
/// x ≥ 0 and 3ε·(1 + |2u|) for x < 0, because e^{−2u} carries the rounding of 2u. −∞ gives 0.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> gelu_tanh_of(vec<T> x) {
  const vec<T> limit = spread(T(sizeof(T) == 4 ? 9.9 : 21)), zero = {};  // 2u in range of exp
  const vec<T> inside = blend<T>(x < limit, blend<T>(x < -limit, -limit, x), limit);
  const vec<T> cubic = fused(inside * inside, spread(T(0.044715)), spread(T(1)));
  const vec<T> e = exp_bounded<T>(inside * cubic * spread(T(-1.5957691216057307117)));
  const vec<T> y = x / (spread(T(1)) + e);
  return blend<T>(x < -limit, zero, y);
}

/// In place; `count` is a multiple of the lanes.
template <class T, activation F>
inline void activate(T* data, index count) {
  for (index k = 0; k < count; k += lanes<T>) {
    vec<T> x = load(data + k);
    if constexpr (F == activation::relu) x = larger(vec<T>{}, x);
    if constexpr (F == activation::gelu) x = gelu_of<T>(x);
    if constexpr (F == activation::gelu_tanh) x = gelu_tanh_of<T>(x);
    store(data + k, x);
  }
}
