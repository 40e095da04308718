// Additive scores of a tile, rows × lanes; either side may be the queries.
//
//   s = Σ_c v_c tanh(q_c + k_c)
//
// without a tanh for each pair where the magnitudes allow it. The form depends on the largest |q_c|
// and |k_c| of the pair alone, so its bits never depend on the neighbours in a tile:
//   small     tanh q and tanh k once for each vector:  tanh(q + k) = (A + B) / (1 + AB)
//   moderate  e^{2q}, e^{2k} once for each vector:     tanh(q + k) = 1 − 2 / (1 + e^{2q} e^{2k})
//   large     e^{2q + 2k} could overflow: tanh of each pair
// The first keeps scores near 0 accurate where the second cancels.
//
// A pair and feature costs a fused multiply-add, an approximate reciprocal with one Newton step
// and an accumulation: 4 FMAs and a reciprocal (moderate), 7 operations (small).

enum class additive_form { small, moderate, large };

template <class T>
inline constexpr T small_sum = 1;
template <class T>
inline constexpr T moderate_sum = sizeof(T) == 4 ? 43 : 350;

inline constexpr int additive_rows = vector_bytes == 64 ? 4 : 2;

/// One side of a tile of additive scores: vectors packed depth × width, their largest magnitudes,
/// and room for the forms computed when first needed.
template <class T>
struct additive_panel {
  T* raw = nullptr;
  T* exponential = nullptr;  // e^{2x}
  T* tangent = nullptr;      // tanh x
  T* largest = nullptr;      // of each vector; infinite if it holds a NaN
  index width = 0;           // vectors side by side
  index size = 0;            // depth · width, a whole number of vectors or not
  T least = 0;               // of `largest`
  T most = 0;
  bool has_exponential = false;
  bool has_tangent = false;
};

/// Applies f to data in whole vectors; buffers are padded to whole vectors.
template <class T, class F>
SOFTLOOK_ALWAYS_INLINE void map_vectors(const T* from, T* to, index count, const F& f) {
  for (index k = 0; k < count; k += lanes<T>) store(to + k, f(load(from + k)));
}

template <class T>
inline void need_exponential(additive_panel<T>& p) {
  if (p.has_exponential) return;
  p.has_exponential = true;
  const vec<T> bound = spread(moderate_sum<T>);  // beyond it this form is not used
  if (p.most <= moderate_sum<T>) {
    map_vectors(p.raw, p.exponential, p.size,
                [&](vec<T> x) SOFTLOOK_STAMP_LAMBDA { return exp_bounded<T>(x + x); });
    return;
  }
  map_vectors(p.raw, p.exponential, p.size, [&](vec<T> x) SOFTLOOK_STAMP_LAMBDA {
    const vec<T> low = blend<T>(x > -bound, x, -bound);
    const vec<T> clamped = blend<T>(low < bound, low, bound);
    return exp_bounded<T>(clamped + clamped);
  });
}

template <class T>
inline void need_tangent(additive_panel<T>& p) {
  if (p.has_tangent) return;
  p.has_tangent = true;
  map_vectors(p.raw, p.tangent, p.size,
              [&](vec<T> x) SOFTLOOK_STAMP_LAMBDA { return tanh_of<T>(x); });
}

/// largest[w] = max over c of |raw(c, w)| for as many w as Bits has lanes. As integers, magnitudes
/// keep their order and a NaN lies above infinity; it counts as infinite.
template <class T, class Bits>
SOFTLOOK_ALWAYS_INLINE void find_largest(const T* raw, index depth, index width, T* largest) {
  using integer = typename simd<T>::integer;
  constexpr integer magnitude = ~(integer(1) << (8 * sizeof(integer) - 1));
  constexpr integer infinite = sizeof(T) == 4 ? integer(0x7f800000) : integer(0x7ff0000000000000);
  Bits most = {};
  for (index c = 0; c < depth; ++c) {
    Bits x;
    __builtin_memcpy(&x, raw + c * width, sizeof x);
    x = x & magnitude;
    most = x > most ? x : most;
  }
  most = most > infinite ? infinite - Bits{} : most;
  __builtin_memcpy(largest, &most, sizeof most);
}

/// Starts a panel whose `raw` has been packed. Unused vectors are given the magnitude of the first,
/// so that padding never decides the form.
template <class T>
inline void begin_panel(additive_panel<T>& p, index depth, index width, index used) {
  p.width = width;
  p.size = depth * width;
  p.has_exponential = p.has_tangent = false;
  if (width % lanes<T> == 0)
    for (index w = 0; w < width; w += lanes<T>)
      find_largest<T, typename simd<T>::bits>(p.raw + w, depth, width, p.largest + w);
  else
    for (index w = 0; w < width; w += 4)
      find_largest<T, typename block4<T>::bits>(p.raw + w, depth, width, p.largest + w);
  for (index w = used; w < width; ++w) p.largest[w] = p.largest[0];
  p.least = p.most = p.largest[0];
  for (index w = 1; w < used; ++w) {
    const T x = p.largest[w];
    p.least = x < p.least ? x : p.least;
    p.most = x > p.most ? x : p.most;
  }
}

/// With Select the tile also holds pairs of other forms, whose results are thrown away; they must
/// not raise floating-point exceptions on the way.
template <class T, additive_form Form, bool Select>
SOFTLOOK_ALWAYS_INLINE vec<T> additive_term(vec<T> a, vec<T> b, vec<T> v, vec<T> sum) {
  const vec<T> one = spread(T(1));
  if constexpr (Form == additive_form::large) {
    return fused(v, tanh_of<T>(a + b), sum);
  } else {
    vec<T> t = fused(a, b, one);
    if constexpr (Select) {
      t = blend<T>((t > vec<T>{}) & (t < spread(infinity<T>)), t, one);
      SOFTLOOK_STAMP_OPAQUE(t);  // or clang selects after the division
    }
#if SOFTLOOK_STAMP_RECIPROCAL
    if constexpr (sizeof(T) == 4) {
      const vec<T> r = near_reciprocal(t);
      const vec<T> correction = negative_fused(t, r, spread(T(2)));
      if constexpr (Form == additive_form::moderate)
        return fused(v, negative_fused(r, correction, spread(T(0.5))), sum);
      else
        return fused(v * (a + b), r * correction, sum);
    }
#endif
    if constexpr (Form == additive_form::moderate)
      return fused(v, spread(T(0.5)) - one / t, sum);
    else
      return fused(v, (a + b) / t, sum);
  }
}

/// sum = Σ_c v_c · term(rows' c, lanes' c) for Rows rows of a panel.
template <class T, int Rows, int Vectors, additive_form Form, bool Select>
SOFTLOOK_ALWAYS_INLINE void additive_sums(const T* rows, index rows_width, const T* wide,
                                          const T* v, index depth, vec<T> (&sum)[Rows][Vectors]) {
  constexpr int width = Vectors * lanes<T>;
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int x = 0; x < Vectors; ++x) sum[r][x] = vec<T>{};
#pragma GCC unroll 1
  for (index c = 0; c < depth; ++c, rows += rows_width) {
    const vec<T> weight = spread(v[c]);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const vec<T> a = spread(rows[r]);
#pragma GCC unroll 4
      for (int x = 0; x < Vectors; ++x)
        sum[r][x] = additive_term<T, Form, Select>(a, load(wide + c * width + x * lanes<T>), weight,
                                                   sum[r][x]);
    }
  }
  if constexpr (Form == additive_form::moderate) {
    const vec<T> two = spread(T(2));
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int x = 0; x < Vectors; ++x) sum[r][x] = sum[r][x] * two;
  }
}

/// S (used rows × width) in one form. With Select only the pairs that belong to it are written.
template <class T, int Rows, int Vectors, additive_form Form, bool Select>
__attribute__((noinline)) inline void additive_block(const additive_panel<T>& rows,
                                                     const additive_panel<T>& wide, const T* v,
                                                     index depth, index used, T* S) {
  constexpr int width = Vectors * lanes<T>;
  const auto form = [](const additive_panel<T>& p) SOFTLOOK_STAMP_LAMBDA -> const T* {
    return Form == additive_form::small      ? p.tangent
           : Form == additive_form::moderate ? p.exponential
                                             : p.raw;
  };
  for (index r0 = 0; r0 < used; r0 += Rows) {
    vec<T> sum[Rows][Vectors];
    additive_sums<T, Rows, Vectors, Form, Select>(form(rows) + r0, rows.width, form(wide), v, depth,
                                                  sum);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int x = 0; x < Vectors; ++x) {
        T* at = S + (r0 + r) * width + x * lanes<T>;
        if constexpr (Select) {
          const vec<T> both = load(wide.largest + x * lanes<T>) + spread(rows.largest[r0 + r]);
          const vec<T> bound =
              spread(Form == additive_form::small ? small_sum<T> : moderate_sum<T>);
          store(at, blend<T>(both <= bound, sum[r][x], load(at)));
        } else {
          store(at, sum[r][x]);
        }
      }
  }
}

template <class T, int Vectors, additive_form Form>
inline void additive_pass(const additive_panel<T>& rows, const additive_panel<T>& wide, const T* v,
                          index depth, index used, bool select, T* S) {
  if (used == 1 && !select)
    additive_block<T, 1, Vectors, Form, false>(rows, wide, v, depth, used, S);
  else if (select)
    additive_block<T, additive_rows, Vectors, Form, true>(rows, wide, v, depth, used, S);
  else
    additive_block<T, additive_rows, Vectors, Form, false>(rows, wide, v, depth, used, S);
}

/// Additive scores of the `used` rows of a panel against one register tile of lanes. Mixed
/// magnitudes are computed in every form that occurs, the most general first.
template <class T, int Vectors>
inline void additive_scores(additive_panel<T>& rows, additive_panel<T>& wide, const T* v,
                            index depth, index used, T* S) {
  const T least = rows.least + wide.least, most = rows.most + wide.most;
  const bool any_large = !(most <= moderate_sum<T>);
  const bool any_moderate = least <= moderate_sum<T> && !(most <= small_sum<T>);
  const bool any_small = least <= small_sum<T>;
  using form = additive_form;
  if (any_large) additive_pass<T, Vectors, form::large>(rows, wide, v, depth, used, false, S);
  if (any_moderate) {
    need_exponential(rows);
    need_exponential(wide);
    additive_pass<T, Vectors, form::moderate>(rows, wide, v, depth, used, any_large, S);
  }
  if (any_small) {
    need_tangent(rows);
    need_tangent(wide);
    additive_pass<T, Vectors, form::small>(rows, wide, v, depth, used, any_large || any_moderate,
                                           S);
  }
}
