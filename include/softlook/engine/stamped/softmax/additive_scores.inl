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
// The second divides v into the exponentials of the rows, v / (1 + ab) = 1 / (1/v + (a/v)·b), so
// that a pair and feature costs a fused multiply-add, an approximate reciprocal, its Newton step
// and the accumulation of their product: 3 FMAs and a reciprocal (small: 7 operations).

enum class additive_form { small, moderate, large };

template <class T>
inline constexpr T small_sum = 1;
template <class T>
inline constexpr T moderate_sum = sizeof(T) == 4 ? 29 : 320;  // e^{2·29} / least_weight is finite

inline constexpr int additive_rows = vector_bytes == 64 ? 4 : 2;

/// One side of a tile of additive scores: vectors packed depth × width, their largest magnitudes,
/// and room for the forms computed when first needed.
template <class T>
struct additive_panel {
  T* raw = nullptr;
  T* exponential = nullptr;  // e^{2x}; of rows, divided by v
  T* tangent = nullptr;      // tanh x
  T* largest = nullptr;      // of each vector; infinite if it holds a NaN
  index width = 0;           // vectors side by side
  index size = 0;            // depth · width, a whole number of vectors or not
  T least = 0;               // of `largest`
  T most = 0;
  bool has_exponential = false;
  bool has_tangent = false;
};

/// A panel in memory: its forms lie `form` scalars apart.
template <class T>
inline additive_panel<T> panel_at(T* raw, index form, T* largest) {
  additive_panel<T> p;
  p.raw = raw;
  p.exponential = raw + form;
  p.tangent = raw + 2 * form;
  p.largest = largest;
  return p;
}

/// to[k] = f(from[k], k), vector by vector; the next panel begins where a panel ends.
template <class T, class F>
SOFTLOOK_ALWAYS_INLINE void map_vectors(const T* from, T* to, index count, const F& f) {
  index k = 0;
  for (; k + lanes<T> <= count; k += lanes<T>) store(to + k, f(load(from + k), k));
  if (k == count) return;
  const std::size_t rest = std::size_t(count - k) * sizeof(T);
  vec<T> x = {};
  __builtin_memcpy(&x, from + k, rest);
  x = f(x, k);
  __builtin_memcpy(to + k, &x, rest);
}

template <class T>
inline void need_exponential(additive_panel<T>& p) {
  if (p.has_exponential) return;
  p.has_exponential = true;
  const vec<T> bound = broadcast(moderate_sum<T>);  // beyond it this form is not used
  if (p.most <= moderate_sum<T>) {
    map_vectors(p.raw, p.exponential, p.size,
                [&](vec<T> x, index) SOFTLOOK_STAMP_LAMBDA { return exp_bounded<T>(x + x); });
    return;
  }
  map_vectors(p.raw, p.exponential, p.size, [&](vec<T> x, index) SOFTLOOK_STAMP_LAMBDA {
    const vec<T> low = select<T>(x > -bound, x, -bound);
    const vec<T> clamped = select<T>(low < bound, low, bound);
    return exp_bounded<T>(clamped + clamped);
  });
}

/// Of rows: e^{2x} / v. A single row is one vector after the other.
template <class T>
inline void need_weighted_exponential(additive_panel<T>& p, const T* inverse) {
  if (p.has_exponential) return;
  need_exponential(p);
  T* at = p.exponential;
  if (p.width == 1) {
    map_vectors(at, at, p.size,
                [&](vec<T> x, index c) SOFTLOOK_STAMP_LAMBDA { return x * load(inverse + c); });
    return;
  }
  for (T* const end = at + p.size; at < end; ++inverse)
    for (index w = 0; w < p.width; w += 4, at += 4) {
      row4<T> x;
      __builtin_memcpy(&x, at, sizeof x);
      x = x * *inverse;
      __builtin_memcpy(at, &x, sizeof x);
    }
}

template <class T>
inline void need_tangent(additive_panel<T>& p) {
  if (p.has_tangent) return;
  p.has_tangent = true;
  map_vectors(p.raw, p.tangent, p.size,
              [&](vec<T> x, index) SOFTLOOK_STAMP_LAMBDA { return tanh_of<T>(x); });
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

/// The largest magnitude of a row whose features are contiguous, zeros behind them up to a whole
/// vector.
template <class T>
inline T largest_of_row(const T* raw, index features) {
  T sizes[lanes<T>], most = 0;
  find_largest<T, typename simd<T>::bits>(raw, ceil_div(features, lanes<T>), lanes<T>, sizes);
  for (const T size : sizes) most = size > most ? size : most;
  return most;
}

/// Starts a panel whose `raw` has been packed. Unused vectors are given the magnitude of the first,
/// so that padding never decides the form.
template <class T>
inline void begin_panel(additive_panel<T>& p, index depth, index width, index used) {
  p.width = width;
  p.size = depth * width;
  p.has_exponential = p.has_tangent = false;
  if (width == 1)
    p.largest[0] = largest_of_row(p.raw, depth);
  else if (width % lanes<T> == 0)
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

/// v of a call and what depends on it alone: see score_vector_layout.
template <class T>
struct score_vector {
  const T* v;
  const T* inverse;
  const T* halves;
  T scale;
};

/// Writes behind v what score_vector_layout says; a v that is not finite has an infinite scale.
/// Where all of v is next to nothing, so is the scale, but not 0.
template <class T>
void prepare_score_vector(T* v, index features) {
  const score_vector_layout at = score_vector_layout_for(features);
  for (index c = features; c < at.inverse; ++c) v[c] = 0;
  const T least_scale = sizeof(T) == 4 ? T(0x1p-86) : T(0x1p-942);  // · least_weight is normal
  const T most = largest_of_row(v, features), scale = most > least_scale ? most : least_scale;
  const vec<T> top = broadcast(scale), least = broadcast(scale * least_weight<T>);
  map_vectors(v, v + at.inverse, at.inverse, [&](vec<T> x, index) SOFTLOOK_STAMP_LAMBDA {
    const vec<T> size = select<T>(x < vec<T>{}, -x, x);
    vec<T> kept = select<T>(size < least, least, x);
    SOFTLOOK_STAMP_OPAQUE(kept);  // or clang selects after the division
    return top / kept;
  });
  const T half = T(0.5) / scale;
  for (index c = 0; c < features; c += score_vector_group) {
    T sum = 0;
    for (index k = c; k < c + score_vector_group && k < features; ++k) sum = sum + v[k];
    v[at.halves + c / score_vector_group] = sum * half;
  }
  v[at.scale] = scale;
}

template <class T>
inline score_vector<T> score_vector_at(const T* v, index depth) {
  const score_vector_layout at = score_vector_layout_for(depth);
  return {v, v + at.inverse, v + at.halves, v[at.scale]};
}

/// 1 where t is 0 or not finite. The compiler must not know: clang would divide first and select
/// afterwards.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> proper_divisor(vec<T> t) {
  const vec<T> size = select<T>(t < vec<T>{}, -t, t);
  vec<T> proper =
      select<T>((size > vec<T>{}) & (size < broadcast(infinity<T>)), t, broadcast(T(1)));
  SOFTLOOK_STAMP_OPAQUE(proper);
  return proper;
}

/// sum + top / t; top is 1 unless Scaled.
template <class T, bool Scaled>
SOFTLOOK_ALWAYS_INLINE vec<T> add_quotient([[maybe_unused]] vec<T> top, vec<T> t, vec<T> sum) {
#if SOFTLOOK_STAMP_RECIPROCAL
  if constexpr (sizeof(T) == 4) {
    const vec<T> r = near_reciprocal(t);
    const vec<T> correction = negative_fma(t, r, broadcast(T(2)));
    return fma(Scaled ? top * r : r, correction, sum);
  }
#endif
  return sum + (Scaled ? top : broadcast(T(1))) / t;
}

/// sum + v·tanh; in the moderate form sum + 1 / (v + ab) with 1/v for v and rows divided by it.
/// With Select the tile also holds pairs of other forms, whose results are thrown away; they must
/// not raise floating-point exceptions on the way.
template <class T, additive_form Form, bool Select>
SOFTLOOK_ALWAYS_INLINE vec<T> additive_term(vec<T> a, vec<T> b, vec<T> v, vec<T> sum) {
  if constexpr (Form == additive_form::large) {
    return fma(v, tanh_of<T>(a + b), sum);
  } else {
    vec<T> t = fma(a, b, Form == additive_form::moderate ? v : broadcast(T(1)));
    if constexpr (Select) t = proper_divisor<T>(t);
    if constexpr (Form == additive_form::moderate)
      return add_quotient<T, false>(v, t, sum);
    else
      return add_quotient<T, true>(v * (a + b), t, sum);
  }
}

/// sum = Σ_c v_c · tanh(rows' c, lanes' c) for Rows rows of a panel.
template <class T, int Rows, int Vectors, additive_form Form, bool Select>
SOFTLOOK_ALWAYS_INLINE void additive_sums(const T* rows, index rows_width, const T* wide,
                                          const score_vector<T>& weights, index depth,
                                          vec<T> (&sum)[Rows][Vectors]) {
  constexpr int width = Vectors * lanes<T>;
  constexpr bool moderate = Form == additive_form::moderate;
  const T* const v = moderate ? weights.inverse : weights.v;
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int x = 0; x < Vectors; ++x) sum[r][x] = vec<T>{};
#pragma GCC unroll 1
  for (index first = 0; first < depth; first += score_vector_group) {
    const index end = first + score_vector_group < depth ? first + score_vector_group : depth;
#pragma GCC unroll 1
    for (index c = first; c < end; ++c, rows += rows_width) {
      const vec<T> weight = broadcast(v[c]);
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) {
        const vec<T> a = broadcast(rows[r]);
#pragma GCC unroll 4
        for (int x = 0; x < Vectors; ++x)
          sum[r][x] = additive_term<T, Form, Select>(a, load(wide + c * width + x * lanes<T>),
                                                     weight, sum[r][x]);
      }
    }
    // Centred, sums stay as small as those of v·tanh.
    const vec<T> half = broadcast(moderate ? weights.halves[first / score_vector_group] : T(0));
#pragma GCC unroll 4
    for (int r = 0; moderate && r < Rows; ++r)
#pragma GCC unroll 4
      for (int x = 0; x < Vectors; ++x) sum[r][x] = sum[r][x] - half;
  }
  const vec<T> scale = broadcast(T(-2) * weights.scale);
#pragma GCC unroll 4
  for (int r = 0; moderate && r < Rows; ++r)
#pragma GCC unroll 4
    for (int x = 0; x < Vectors; ++x) sum[r][x] = sum[r][x] * scale;
}

/// S (used rows × width) in one form. With Select only the pairs that belong to it are written.
template <class T, int Rows, int Vectors, additive_form Form, bool Select>
__attribute__((noinline)) inline void additive_block(const additive_panel<T>& rows,
                                                     const additive_panel<T>& wide,
                                                     const score_vector<T>& weights, index depth,
                                                     index used, T* S) {
  constexpr int width = Vectors * lanes<T>;
  const auto form = [](const additive_panel<T>& p) SOFTLOOK_STAMP_LAMBDA -> const T* {
    return Form == additive_form::small      ? p.tangent
           : Form == additive_form::moderate ? p.exponential
                                             : p.raw;
  };
  for (index r0 = 0; r0 < used; r0 += Rows) {
    vec<T> sum[Rows][Vectors];
    additive_sums<T, Rows, Vectors, Form, Select>(form(rows) + r0, rows.width, form(wide), weights,
                                                  depth, sum);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int x = 0; x < Vectors; ++x) {
        T* at = S + (r0 + r) * width + x * lanes<T>;
        if constexpr (Select) {
          const vec<T> both = load(wide.largest + x * lanes<T>) + broadcast(rows.largest[r0 + r]);
          const vec<T> bound =
              broadcast(Form == additive_form::small ? small_sum<T> : moderate_sum<T>);
          store(at, select<T>(both <= bound, sum[r][x], load(at)));
        } else {
          store(at, sum[r][x]);
        }
      }
  }
}

/// Several rows at a time where that is common.
template <class T, int Vectors, additive_form Form>
inline void additive_pass(const additive_panel<T>& rows, const additive_panel<T>& wide,
                          const score_vector<T>& weights, index depth, index used, bool select,
                          T* S) {
  constexpr int at_once = Form == additive_form::large ? 1 : additive_rows;
  if (select)
    additive_block<T, 1, Vectors, Form, true>(rows, wide, weights, depth, used, S);
  else if (used == 1)
    additive_block<T, 1, Vectors, Form, false>(rows, wide, weights, depth, used, S);
  else
    additive_block<T, at_once, Vectors, Form, false>(rows, wide, weights, depth, used, S);
}

/// Additive scores of the `used` rows of a panel against one register tile of lanes. Mixed
/// magnitudes are computed in every form that occurs, the most general first.
template <class T, int Vectors>
inline void additive_scores(additive_panel<T>& rows, additive_panel<T>& wide, const T* v,
                            index depth, index used, T* S) {
  const score_vector<T> weights = score_vector_at(v, depth);
  const bool finite = weights.scale < infinity<T>;
  const T least = finite ? rows.least + wide.least : infinity<T>;
  const T most = finite ? rows.most + wide.most : infinity<T>;
  const bool any_large = !(most <= moderate_sum<T>);
  const bool any_moderate = least <= moderate_sum<T> && !(most <= small_sum<T>);
  const bool any_small = least <= small_sum<T>;
  using form = additive_form;
  if (any_large) additive_pass<T, Vectors, form::large>(rows, wide, weights, depth, used, false, S);
  if (any_moderate) {
    need_weighted_exponential(rows, weights.inverse);
    need_exponential(wide);
    additive_pass<T, Vectors, form::moderate>(rows, wide, weights, depth, used, any_large, S);
  }
  if (any_small) {
    need_tangent(rows);
    need_tangent(wide);
    additive_pass<T, Vectors, form::small>(rows, wide, weights, depth, used,
                                           any_large || any_moderate, S);
  }
}
