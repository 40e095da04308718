// The online softmax over a tile of scores in units of log 4, rows × (Vectors vectors of lanes),
// one softmax for each lane. Everything is vertical: no lane ever looks at another.
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
      const vec<T> a = max_of(load(at), load(at + width));
      const vec<T> b = max_of(load(at + 2 * width), load(at + 3 * width));
      top[v] = max_of(max_of(a, b), top[v]);
    }
  for (; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) top[v] = max_of(load(S + r * width + v * lanes<T>), top[v]);
}

/// top = max(top, S over some rows), `width` queries.
template <class T>
inline void raise_to_panel(const T* S, index rows, index width, T* top) {
  for (index x = 0; x < width; x += lanes<T>) {
    vec<T> most[1] = {load(top + x)};
    raise_to_maximum<T, 1>(S + x, rows, width, most);
    store(top + x, most[0]);
  }
}

/// The part of add_exponentials() for Rows rows from `at`, one behind the other.
template <class T, int Vectors, int Rows, bool Careful>
SOFTLOOK_ALWAYS_INLINE void exponentiate_rows(T* at, const vec<T> (&top)[Vectors],
                                              vec<T> (&sum)[Vectors], const exponential<T>& exp4) {
  vec<T> p[Rows * Vectors];
#pragma GCC unroll 8
  for (int k = 0; k < Rows * Vectors; ++k) p[k] = load(at + k * lanes<T>) - top[k % Vectors];
  exp4(p);
#pragma GCC unroll 8
  for (int k = 0; k < Rows * Vectors; ++k) {
    if constexpr (Careful)
      p[k] =
          select<T>(load(at + k * lanes<T>) == broadcast(-infinity<T>), broadcast(T(-0.0)), p[k]);
    store(at + k * lanes<T>, p[k]);
    sum[k % Vectors] = sum[k % Vectors] + p[k];
  }
}

/// S = 4^(S − top); its sums over the rows are added to `sum`, one row after the other. With
/// Careful a score of −∞ becomes −0 instead of +0: a weight that must not touch a value that is not
/// finite, unlike one that underflowed. Rows are `width` apart: Vectors vectors, unless Careful.
template <class T, int Vectors, bool Careful>
SOFTLOOK_ALWAYS_INLINE void add_exponentials(T* S, index rows, index width,
                                             const vec<T> (&top)[Vectors], vec<T> (&sum)[Vectors]) {
  constexpr int group = vector_bytes == 64 && !Careful ? 2 : 1;  // as many as the registers hold
  const exponential<T> exp4;
  index r = 0;
#pragma GCC unroll 1
  for (; r + group <= rows; r += group)
    exponentiate_rows<T, Vectors, group, Careful>(S + r * width, top, sum, exp4);
  for (; group > 1 && r < rows; ++r)
    exponentiate_rows<T, Vectors, 1, Careful>(S + r * width, top, sum, exp4);
}

/// As add_exponentials(), but sums start from 0.
template <class T, int Vectors, bool Careful>
SOFTLOOK_ALWAYS_INLINE void exponentiate(T* S, index rows, index width,
                                         const vec<T> (&top)[Vectors], vec<T> (&sum)[Vectors]) {
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) sum[v] = vec<T>{};
  add_exponentials<T, Vectors, Careful>(S, rows, width, top, sum);
}

/// A maximum of −∞ (no key yet) is replaced by 0, so that −∞ − (−∞) never happens.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> finite_maximum(vec<T> top) {
  return select<T>(top == broadcast(-infinity<T>), vec<T>{}, top);
}

/// What a softmax_state of vectors calculates with: scores in units of log 4.
template <class T>
struct vector_algebra {
  using value = vec<T>;
  SOFTLOOK_ALWAYS_INLINE static value nothing() { return broadcast(-infinity<T>); }
  SOFTLOOK_ALWAYS_INLINE static value zero() { return value{}; }
  SOFTLOOK_ALWAYS_INLINE static value exp(value x) { return exp4_nonpositive<T>(x); }
  /// Opaque, because clang would rather subtract first and select afterwards: −∞ − (−∞) is invalid.
  SOFTLOOK_ALWAYS_INLINE static value finite(value top) {
    value safe = finite_maximum<T>(top);
    SOFTLOOK_STAMP_OPAQUE(safe);
    return safe;
  }
  SOFTLOOK_ALWAYS_INLINE static value multiply_add(value a, value b, value c) {
    return fma(a, b, c);
  }
  SOFTLOOK_ALWAYS_INLINE static value reciprocal_or_one(value x) {
    return lane_reciprocal_or_one<T>(x);
  }
};

template <class T>
using vector_softmax = softmax_state<vector_algebra<T>>;

/// The online softmax of the queries of a register tile over some rows of scores, in three parts:
/// the maximum, the exponentials, and what they change in the running maximum and sum. The
/// exponentials may be computed a vector at a time beside a product, whose multiply-adds leave the
/// units of additions idle.
template <class T>
struct softmax_step {
  using constants = exponential<T>;
  T* scores = nullptr;  // the next row
  index rows_left = 0;
  int vectors = 0;
  alignas(vector_bytes) T top[tile_vectors * lanes<T>];
  alignas(vector_bytes) T safe[tile_vectors * lanes<T>];  // finite_maximum(top)
  alignas(vector_bytes) T added[tile_vectors * lanes<T>];

  /// Exponentiates vector v of the next row.
  SOFTLOOK_ALWAYS_INLINE void turn(int v, const exponential<T>& exp4) {
    T* const at = scores + v * lanes<T>;
    T* const sum = added + v * lanes<T>;
    vec<T> p[1] = {load(at) - load(safe + v * lanes<T>)};
    exp4(p);
    store(at, p[0]);
    store(sum, load(sum) + p[0]);
  }
  SOFTLOOK_ALWAYS_INLINE void end_row() {
    scores += tile_vectors * lanes<T>;
    --rows_left;
  }
};

/// The scores S of `rows` keys, whose maximum is in step.top, wait for their exponentials, which
/// are relative to the larger of it and the running maximum.
template <class T>
inline void begin_exponentials(softmax_step<T>& step, T* S, index rows, const T* maximum) {
  step.scores = S;
  step.rows_left = rows;
  for (index x = 0; x < step.vectors * lanes<T>; x += lanes<T>) {
    const vec<T> top = max_of(load(step.top + x), load(maximum + x));
    store(step.top + x, top);
    store(step.safe + x, finite_maximum<T>(top));
    store(step.added + x, vec<T>{});
  }
}

/// The exponentials that are left.
template <class T, int Vectors>
__attribute__((noinline)) inline void exponentiate_rest(softmax_step<T>& step) {
  if (step.rows_left == 0) return;
  vec<T> top[Vectors], added[Vectors];
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) {
    top[v] = load(step.safe + v * lanes<T>);
    added[v] = load(step.added + v * lanes<T>);
  }
  add_exponentials<T, Vectors, false>(step.scores, step.rows_left, Vectors * lanes<T>, top, added);
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) store(step.added + v * lanes<T>, added[v]);
}

/// Brings `maximum` and `sum` of `width` queries up to date. Returns whether a maximum grew; then
/// the output so far must be multiplied by `correction`.
template <class T>
inline bool join_softmax(const T* top, const T* added, index width, T* maximum, T* sum,
                         T* correction) {
  bool grew = false;
  for (index x = 0; x < width; x += lanes<T>) grew |= any_greater(load(top + x), load(maximum + x));
  for (index x = 0; x < width; x += lanes<T>) {
    if (grew) {
      vector_softmax<T> state{load(maximum + x), load(sum + x)};
      store(correction + x, state.absorb(load(top + x), load(added + x)));
      store(maximum + x, state.maximum);
      store(sum + x, state.sum);
    } else {
      store(sum + x, load(sum + x) + load(added + x));
    }
  }
  return grew;
}

/// The three parts for one vector of queries, `width` from row to row, whose weights touch values
/// that may not be finite.
template <class T>
__attribute__((noinline)) inline void absorb_with_care(T* S, index rows, index width, T* maximum,
                                                       T* sum, T* correction) {
  vec<T> top[1] = {load(maximum)}, added[1];
  raise_to_maximum<T, 1>(S, rows, width, top);
  const vec<T> safe[1] = {finite_maximum<T>(top[0])};
  exponentiate<T, 1, true>(S, rows, width, safe, added);
  alignas(vector_bytes) T tops[lanes<T>], sums[lanes<T>];
  store(tops, top[0]);
  store(sums, added[0]);
  store(correction, broadcast(T(1)));
  join_softmax(tops, sums, lanes<T>, maximum, sum, correction);
}

/// Natural log-sum-exp from a maximum in units of log 4 and the sum of the weights relative to it.
template <class T>
inline T natural_log_sum_exp(T maximum, T sum) {
  if (sum == 0) return -infinity<T>;
  const double value =
      __builtin_fma(double(maximum), 1.38629436111989061883, __builtin_log(double(sum)));
  // The rounding of a maximum near the ends of the range must not leave it.
  constexpr T most = sizeof(T) == 4 ? T(__FLT_MAX__) : T(__DBL_MAX__);
  if (maximum > -infinity<T> && maximum < infinity<T>)
    return value > double(most) ? most : value < -double(most) ? -most : T(value);
  return T(value);
}
