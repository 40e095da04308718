// The online softmax over a tile of scores in units of log 4, rows × vectors of lanes, one softmax
// for each lane. Everything is vertical: no lane ever looks at another.
//   \see Milakov and Gimelshein, 2018; Dao et al., "FlashAttention", 2022, algorithm 1.

/// top = max(top, S over its rows, `width` apart); a NaN score returns through the sum, whatever
/// becomes of the maximum of its lane.
template <class T>
SOFTLOOK_ALWAYS_INLINE void raise_to_maximum(const T* S, index rows, index width, vec<T>& top) {
  index r = 0;
  for (; r + 4 <= rows; r += 4) {
    const T* at = S + r * width;
    const vec<T> a = max_of(load(at), load(at + width));
    const vec<T> b = max_of(load(at + 2 * width), load(at + 3 * width));
    top = max_of(max_of(a, b), top);
  }
  for (; r < rows; ++r) top = max_of(load(S + r * width), top);
}

/// top = max(top, S over some rows), `width` queries.
template <class T>
inline void raise_to_panel(const T* S, index rows, index width, T* top) {
  for (index x = 0; x < width; x += lanes<T>) {
    vec<T> most = load(top + x);
    raise_to_maximum<T>(S + x, rows, width, most);
    store(top + x, most);
  }
}

/// The part of add_exponentials() for Rows rows.
template <class T, int Rows, bool Careful>
SOFTLOOK_ALWAYS_INLINE void exponentiate_rows(T* at, index width, vec<T> top, vec<T>& sum,
                                              const exponential<T>& exp4) {
  vec<T> p[Rows];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) p[r] = load(at + r * width) - top;
  exp4(p);
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    if constexpr (Careful)
      p[r] = select<T>(load(at + r * width) == broadcast(-infinity<T>), broadcast(T(-0.0)), p[r]);
    store(at + r * width, p[r]);
    sum = sum + p[r];
  }
}

/// S = 4^(S − top) for a vector of `rows` rows, `width` apart; its sums are added to `sum`, one row
/// after the other. With Careful a score of −∞ becomes −0 instead of +0: a weight that must not
/// touch a value that is not finite, unlike one that underflowed.
template <class T, bool Careful>
__attribute__((noinline)) inline void add_exponentials(T* S, index rows, index width, const T* top,
                                                       T* sum) {
  constexpr int group = Careful ? 1 : vector_bytes >= 32 ? 4 : 2;  // as many as the registers hold
  const exponential<T> exp4;
  const vec<T> safe = load(top);
  vec<T> total = load(sum);
#pragma GCC unroll 1
  for (; rows >= group; rows -= group, S += group * width)
    exponentiate_rows<T, group, Careful>(S, width, safe, total, exp4);
#pragma GCC unroll 1
  for (; group > 1 && rows > 0; --rows, S += width)
    exponentiate_rows<T, 1, Careful>(S, width, safe, total, exp4);
  store(sum, total);
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
template <class T>
inline void exponentiate_rest(softmax_step<T>& step) {
  const index width = step.vectors * lanes<T>;
  for (index x = 0; step.rows_left > 0 && x < width; x += lanes<T>)
    add_exponentials<T, false>(step.scores + x, step.rows_left, width, step.safe + x,
                               step.added + x);
}

/// Brings `maximum` and `sum` of `width` queries up to date. The output so far must be multiplied
/// by `correction`, which is 1 where no maximum grew.
template <class T>
inline void join_softmax(const T* top, const T* added, index width, T* maximum, T* sum,
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
      store(correction + x, broadcast(T(1)));
      store(sum + x, load(sum + x) + load(added + x));
    }
  }
}

/// The three parts for one vector of queries, `width` from row to row, whose weights touch values
/// that may not be finite.
template <class T>
SOFTLOOK_SMALL __attribute__((noinline)) inline void absorb_with_care(T* S, index rows, index width,
                                                                      T* maximum, T* sum,
                                                                      T* correction) {
  vec<T> top = load(maximum);
  raise_to_maximum<T>(S, rows, width, top);
  alignas(vector_bytes) T tops[lanes<T>], safe[lanes<T>], added[lanes<T>];
  store(tops, top);
  store(safe, finite_maximum<T>(top));
  store(added, vec<T>{});
  add_exponentials<T, true>(S, rows, width, safe, added);
  join_softmax(tops, added, lanes<T>, maximum, sum, correction);
}
