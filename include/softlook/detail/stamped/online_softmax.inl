// The online softmax over a tile of scores in units of log2, rows × (Vectors vectors of lanes), one
// softmax for each lane. Everything is vertical: no lane ever looks at another.
//   \see Milakov and Gimelshein, 2018; Dao et al., "FlashAttention", 2022, algorithm 1.

/// top = max(top, S over its rows); a NaN score returns through the sum, whatever becomes of the
/// maximum of its lane.
template <class T, int Vectors>
SOFTLOOK_ALWAYS_INLINE void raise_to_maximum(const T* S, index rows, index width,
                                             vec<T> (&top)[Vectors]) {
  index r = 0;
  for (; r + 4 <= rows; r += 4)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      const T* at = S + r * width + v * lanes<T>;
      const vec<T> a = larger(load(at), load(at + width));
      const vec<T> b = larger(load(at + 2 * width), load(at + 3 * width));
      top[v] = larger(larger(a, b), top[v]);
    }
  for (; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) top[v] = larger(load(S + r * width + v * lanes<T>), top[v]);
}

/// The part of exponentiate() for Rows rows from `at`, one behind the other.
template <class T, int Vectors, int Rows, bool Careful>
SOFTLOOK_ALWAYS_INLINE void exponentiate_rows(T* at, const vec<T> (&top)[Vectors],
                                              vec<T> (&sum)[Vectors]) {
  vec<T> p[Rows * Vectors];
#pragma GCC unroll 8
  for (int k = 0; k < Rows * Vectors; ++k) p[k] = load(at + k * lanes<T>) - top[k % Vectors];
  exp2_nonpositive<T, Rows * Vectors>(p);
#pragma GCC unroll 8
  for (int k = 0; k < Rows * Vectors; ++k) {
    if constexpr (Careful)
      p[k] = blend<T>(load(at + k * lanes<T>) == spread(-infinity<T>), spread(T(-0.0)), p[k]);
    store(at + k * lanes<T>, p[k]);
    sum[k % Vectors] = sum[k % Vectors] + p[k];
  }
}

/// S = 2^(S − top), and its sums over the rows. With Careful a score of −∞ becomes −0 instead of
/// +0: a weight that must not touch a value that is not finite, unlike one that underflowed.
/// Rows are `width` apart: Vectors vectors, unless Careful.
template <class T, int Vectors, bool Careful>
SOFTLOOK_ALWAYS_INLINE void exponentiate(T* S, index rows, index width,
                                         const vec<T> (&top)[Vectors], vec<T> (&sum)[Vectors]) {
  constexpr int group = vector_bytes == 64 && !Careful ? 2 : 1;  // as many as the registers hold
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) sum[v] = vec<T>{};
  index r = 0;
#pragma GCC unroll 1
  for (; r + group <= rows; r += group)
    exponentiate_rows<T, Vectors, group, Careful>(S + r * width, top, sum);
  for (; group > 1 && r < rows; ++r)
    exponentiate_rows<T, Vectors, 1, Careful>(S + r * width, top, sum);
}

/// A maximum of −∞ (no key yet) is replaced by 0, so that −∞ − (−∞) never happens.
template <class T, int Vectors>
SOFTLOOK_ALWAYS_INLINE void finite_maximum(const vec<T> (&top)[Vectors], vec<T> (&safe)[Vectors]) {
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v)
    safe[v] = blend<T>(top[v] == spread(-infinity<T>), vec<T>{}, top[v]);
}

/// One step: the scores S become weights relative to the new maximum, `maximum` and `sum` are
/// brought up to date. Returns whether a maximum grew; then the output so far must be multiplied by
/// `correction`. Vectors of a wider tile are taken with care, their rows `stride` apart.
template <class T, int Vectors, bool Careful = false>
__attribute__((noinline)) inline bool absorb(T* S, index rows, T* maximum, T* sum, T* correction,
                                             [[maybe_unused]] index stride = 0) {
  const index width = Careful ? stride : index(Vectors * lanes<T>);
  vec<T> old[Vectors], top[Vectors], safe[Vectors], added[Vectors];
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) old[v] = top[v] = load(maximum + v * lanes<T>);
  raise_to_maximum<T, Vectors>(S, rows, width, top);
  finite_maximum<T, Vectors>(top, safe);
  exponentiate<T, Vectors, Careful>(S, rows, width, safe, added);
  bool grew = false;
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) grew |= any_greater(top[v], old[v]);
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) {
    T* l = sum + v * lanes<T>;
    if (grew) {
      const vec<T> c = exp2_nonpositive<T>(old[v] - safe[v]);
      store(correction + v * lanes<T>, c);
      store(maximum + v * lanes<T>, top[v]);
      store(l, fused(load(l), c, added[v]));
    } else {
      store(l, load(l) + added[v]);
    }
  }
  return grew;
}

/// Natural log-sum-exp from a maximum in units of log2 and the sum of the weights relative to it.
template <class T>
inline T natural_log_sum_exp(T maximum, T sum) {
  if (sum == 0) return -infinity<T>;
  return T(__builtin_fma(double(maximum), 0.69314718055994530942, __builtin_log(double(sum))));
}
