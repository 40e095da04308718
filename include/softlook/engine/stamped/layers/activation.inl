// Activations of vectors.

/// x·Φ(x). With t = |x|/√2 and h = e^{−t²}·(e^{t²} erfc t)/2:  x·h for x < 0, x·(1 − h) otherwise,
/// so that the tails keep their relative accuracy, which e^{−t²} as one power of two limits to 1 +
/// x² times the rounding. Relative error below 4e-7·(1 + x²) for x < 0, 3e-7 otherwise (float);
/// 1e-15 and 6e-16 (double). −∞ gives 0.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> gelu_of(vec<T> x) {
  using c = scaled_erfc<T>;
  const vec<T> limit = broadcast(c::limit), centre = broadcast(c::centre), zero = {};
  const vec<T> size = select<T>(x < zero, -x, x) * broadcast(T(0.70710678118654752440));
  const vec<T> t = select<T>(size < limit, size, limit);
  const vec<T> r = broadcast(T(1)) / (t + centre);
  const vec<T> s = (t - centre) * r;
  vec<T> p = broadcast(c::p[0]);
#pragma GCC unroll 32
  for (int k = 1; k < int(sizeof(c::p) / sizeof(T)); ++k) p = fma(p, s, broadcast(c::p[k]));
  const vec<T> e = exp4_nonpositive<T, 0>(t * (t * broadcast(T(-0.72134752044448170368))));
  const vec<T> h = e * (p * (r * centre));
  const vec<T> left = select<T>(size < limit, x * h, zero);  // −∞·0 would be NaN
  return select<T>(x < zero, left, x * (broadcast(T(1)) - h));
}

/// x·(1 + tanh u)/2 = x/(1 + e^{−2u}), u = √(2/π)·(x + 0.044715·x³). Relative error below 3ε for
/// x ≥ 0 and 3ε·(1 + |2u|) for x < 0, because e^{−2u} carries the rounding of 2u. −∞ gives 0.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> gelu_tanh_of(vec<T> x) {
  const vec<T> limit = broadcast(T(sizeof(T) == 4 ? 9.9 : 21)), zero = {};  // 2u in range of exp
  const vec<T> inside = select<T>(x < limit, select<T>(x < -limit, -limit, x), limit);
  const vec<T> cubic = fma(inside * inside, broadcast(T(0.044715)), broadcast(T(1)));
  const vec<T> e = exp_bounded<T>(inside * cubic * broadcast(T(-1.5957691216057307117)));
  const vec<T> y = x / (broadcast(T(1)) + e);
  return select<T>(x < -limit, zero, y);
}

/// x/(1 + e^{−x}). Relative error below 6e-7 (float), 1.2e-15 (double). −∞ gives 0.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> silu_of(vec<T> x) {
  const vec<T> limit = broadcast(T(sizeof(T) == 4 ? 87 : 708)), zero = {};  // range of exp
  const vec<T> inside = select<T>(x < limit, select<T>(x < -limit, -limit, x), limit);
  const vec<T> y = x / (broadcast(T(1)) + exp_bounded<T>(-inside));
  return select<T>(x < -limit, zero, y);
}

/// In place; `count` is a multiple of the lanes.
template <class T, activation F>
inline void activate(T* data, index count) {
  for (index k = 0; k < count; k += lanes<T>) {
    vec<T> x = load(data + k);
    if constexpr (F == activation::relu) x = max_of(vec<T>{}, x);
    if constexpr (F == activation::gelu) x = gelu_of<T>(x);
    if constexpr (F == activation::gelu_tanh) x = gelu_tanh_of<T>(x);
    if constexpr (F == activation::silu) x = silu_of<T>(x);
    store(data + k, x);
  }
}
