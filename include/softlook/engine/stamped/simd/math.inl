// Exponentials and tanh of vectors.

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

/// Exponents of normal numbers below the smallest weight but 0, 2^−100 (float), 2^−960 (double):
/// sums of smaller weights times values would be subnormal numbers, each of which costs some
/// processors a hundred cycles.
template <class T>
inline constexpr int spared_exponents = sizeof(T) == 4 ? 26 : 62;

/// 4^x for x ≤ 0, the exponential of softmax: relative error below 1.7e-7 (float), 3e-16 (double);
/// exact at 0; −∞ and everything below the number that `Spared` exponents leave above the smallest
/// normal one give exactly 0; NaN stays NaN. The base is 4 because finite scores in units of log 4
/// stay finite: log₄ e < 1. It costs nothing: x is rounded to halves instead of integers, and the
/// polynomial is that of 2^f with coefficients of 2x, which differ by powers of 2.
template <class T, int Spared = spared_exponents<T>>
class exponential {
  using c = math::detail::exp2_constants<T>;
  static constexpr int terms = int(sizeof(c::q) / sizeof(T));
  enum : int { least, normal, rounder, first_term, one = first_term + terms, count };
  struct table {
    alignas(vector_bytes) T values[count * lanes<T>];
  };
  // Where 2^n is made of bits, it is 2^(n − Spared) and 0 for the least n, and the polynomial makes
  // up for it.
  static constexpr int moved = SOFTLOOK_STAMP_SCALES ? 0 : Spared;
  static constexpr T value(int k) {
    if (k == least) return (c::lowest + T(Spared - 1)) / 2;
    if (k == normal) return (c::lowest + T(Spared)) / 2;
    if (k == rounder) return c::rounder / 2 + T(c::bias - moved) / 2;
    const T unit = T(std::int64_t{1} << moved);
    return k == one ? unit : unit * c::q[k - first_term] * T(1 << (one - k));
  }
  static constexpr table make_table() {
    table t{};
    for (int k = 0; k < count * lanes<T>; ++k) t.values[k] = value(k / lanes<T>);
    return t;
  }
#if SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES >= 32
  // Constants are operands in memory: a compiler would broadcast each of them first (AVX2), or keep
  // them in registers that a product beside needs (AVX-512).
  static constexpr table constants = make_table();
  const T* at_;

 public:
  SOFTLOOK_ALWAYS_INLINE exponential() : at_(constants.values) { __asm__("" : "+r"(at_)); }

 private:
  template <int K>
  [[nodiscard]] SOFTLOOK_ALWAYS_INLINE vec<T> constant() const {
    return load(at_ + K * lanes<T>);
  }
#else
  template <int K>
  [[nodiscard]] SOFTLOOK_ALWAYS_INLINE vec<T> constant() const {
    return broadcast(value(K));
  }
#endif

  /// x = n/2 + rest with an integer n and |rest| ≤ 1/4, and p·2^n.
#if SOFTLOOK_STAMP_SCALES
  struct split {
    vec<T> x, halves;
  };
  SOFTLOOK_ALWAYS_INLINE vec<T> rest_of(vec<T> x, split& s) const {
    s = {x, round_to_halves(x)};
    return x - s.halves;
  }
  SOFTLOOK_ALWAYS_INLINE vec<T> scale(vec<T> p, const split& s) const {
    return scaled_from(s.x, constant<normal>(), p, s.halves + s.halves);
  }
#else
  // The bias of an exponent is a part of the rounder: the low bits of the sum are those of 2^n.
  struct split {
    vec<T> shifted;
  };
  SOFTLOOK_ALWAYS_INLINE vec<T> rest_of(vec<T> x, split& s) const {
    s.shifted = x + constant<rounder>();
    SOFTLOOK_STAMP_OPAQUE(s.shifted);
    return x - (s.shifted - constant<rounder>());
  }
  SOFTLOOK_ALWAYS_INLINE vec<T> scale(vec<T> p, const split& s) const {
    return p * (vec<T>)((typename simd<T>::bits)s.shifted << c::mantissa_bits);
  }
#endif
  template <int K, int Count>
  SOFTLOOK_ALWAYS_INLINE void add_terms(vec<T> (&q)[Count], const vec<T> (&x)[Count]) const {
#pragma GCC unroll 8
    for (int k = 0; k < Count; ++k) q[k] = fma(q[k], x[k], constant<K>());
    if constexpr (K < one) add_terms<K + 1>(q, x);
  }

 public:
  /// Several vectors in step: chains of dependent operations one after the other fill the
  /// processor's queues with waiting ones.
  template <int Count>
  SOFTLOOK_ALWAYS_INLINE void operator()(vec<T> (&x)[Count]) const {
    split s[Count];
    vec<T> q[Count];
#pragma GCC unroll 8
    for (int k = 0; k < Count; ++k) {
      x[k] = rest_of(max_of(constant<least>(), x[k]), s[k]);
      q[k] = constant<first_term>();
    }
    add_terms<first_term + 1>(q, x);
#pragma GCC unroll 8
    for (int k = 0; k < Count; ++k) x[k] = scale(q[k], s[k]);
  }
};

/// Of one vector, where nothing waits for it: a function, because inlined everywhere it was
/// twentieths of what kernels take to compile.
template <class T, int Spared = spared_exponents<T>>
__attribute__((noinline)) inline vec<T> exp4_nonpositive(vec<T> x) {
  vec<T> one[1] = {x};
  exponential<T, Spared>{}(one);
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
