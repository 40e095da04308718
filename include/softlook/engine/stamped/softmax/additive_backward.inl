// What gradients dS of additive scores s = Σ_a v_a tanh(q_a + k_a) give back, of a block of queries
// and a tile of keys:
//   t = tanh(q_ia + k_ja),  dq_ia = v_a Σ_j dS_ij (1 − t²),  dk_ja = v_a Σ_i dS_ij (1 − t²),
//   dv_a = Σ_ij dS_ij t
// v and the scale of the scores are multiplied into the sums, not into each term.
//
// Feature after feature, queries in lanes: a few keys of a feature stand against all queries of the
// block, so that sums over queries stay in registers and are added across lanes once for 96 queries
// or more. A term is a fused multiply-add, an approximate reciprocal, its Newton step, which leaves
// −t, 1 − t², and three accumulations: 7 FMAs and a reciprocal.
//
// The form of tanh (additive_scores.inl) is chosen from the largest |q| of the block and |k| of
// some panels of keys, which no executor changes.

/// Keys of a feature that are taken together: as many as the registers hold.
inline constexpr int slope_rows = 4;

/// Keys and queries of the sums, in one form, and where they go.
template <class T>
struct slope_sums {
  const T* keys = nullptr;     // panels of tile_rows keys
  const T* queries = nullptr;  // depth × lanes
  index depth = 0;
  index lanes_apart = 0;        // from a feature of the queries to the next, and from a key of dS
  const T* dS = nullptr;        // keys × lanes
  const range* seen = nullptr;  // lanes that have dS, for each panel of keys
  T* query_sums = nullptr;      // depth × lanes, are added to
  T* key_sums = nullptr;        // depth × keys, are written
  index keys_apart = 0;
  T* v_sums = nullptr;  // are added to
};

/// t or −t, whichever takes no operation more: see slope_sign. In the moderate form exponentials of
/// queries are halved.
template <class T, additive_form Form>
SOFTLOOK_ALWAYS_INLINE vec<T> signed_tanh(vec<T> a, vec<T> b) {
  if constexpr (Form == additive_form::large) {
    return tanh_of<T>(a + b);
  } else {
    constexpr bool moderate = Form == additive_form::moderate;
    const vec<T> d = fma(a, b, broadcast(moderate ? T(0.5) : T(1)));
    if constexpr (moderate)
      return add_quotient<T, false>(d, d, broadcast(T(-1)));
    else
      return add_quotient<T, true>(a + b, d, vec<T>{});
  }
}
template <additive_form Form>
inline constexpr int slope_sign = Form == additive_form::moderate ? -1 : 1;

/// x where there is a pair.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> of_pairs(vec<T> dS, vec<T> x) {
  using bits = typename simd<T>::bits;
  return select<T>((bits)dS == (bits)broadcast(T(-0.0)), vec<T>{}, x);
}

/// to[r] = the sum of the lanes of x[r], of four.
template <class T>
SOFTLOOK_ALWAYS_INLINE void sum_lanes(const T* x, T* to) {
  if constexpr (lanes<T> % 4 == 0) {
    row4<T> sums[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      __builtin_memcpy(&sums[r], x + r * lanes<T>, sizeof sums[r]);
#pragma GCC unroll 4
      for (int l = 4; l < lanes<T>; l += 4) {
        row4<T> more;
        __builtin_memcpy(&more, x + r * lanes<T> + l, sizeof more);
        sums[r] = sums[r] + more;
      }
    }
    transpose_rows4<T>(sums);
    sums[0] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    __builtin_memcpy(to, &sums[0], sizeof sums[0]);
  } else {
    for (int r = 0; r < 4; ++r) {
      to[r] = 0;
      for (int l = 0; l < lanes<T>; ++l) to[r] += x[r * lanes<T> + l];
    }
  }
}

/// Rows keys of a feature against the queries in the lanes [seen.begin, seen.end).
template <class T, int Rows, additive_form Form, bool Careful>
SOFTLOOK_ALWAYS_INLINE void add_slopes_of_keys(const T* keys, const T* queries, const T* dS,
                                               index dS_apart, range seen, T* query_sums,
                                               T* key_sums, vec<T> (&v_sum)[2]) {
  vec<T> a[Rows], sum[Rows];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    a[r] = broadcast(keys[r]);
    sum[r] = vec<T>{};
  }
#pragma GCC unroll 1
  for (index l = seen.begin; l < seen.end; l += lanes<T>) {
    const vec<T> b = load(queries + l);
    vec<T> of_queries = load(query_sums + l);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const vec<T> t = signed_tanh<T, Form>(a[r], b), d = load(dS + r * dS_apart + l);
      if constexpr (!Careful) accumulate(v_sum[r % 2], d, t);
      const vec<T> slope = negative_fma(t, t, broadcast(T(1)));
      if constexpr (Careful) {
        const vec<T> g = of_pairs<T>(d, d * slope);
        of_queries = of_queries + g;
        sum[r] = sum[r] + g;
        v_sum[r % 2] = v_sum[r % 2] + of_pairs<T>(d, d * t);
      } else {
        accumulate(of_queries, d, slope);
        accumulate(sum[r], d, slope);
      }
    }
    store(query_sums + l, of_queries);
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) store(key_sums + r * lanes<T>, sum[r]);
}

/// The sums of the panels of keys [panels.begin, panels.end).
template <class T, additive_form Form, bool Careful>
__attribute__((noinline)) inline void add_slopes(const slope_sums<T>& s, range panels) {
  constexpr int rows = Form == additive_form::large ? 1 : slope_rows;
  alignas(vector_bytes) T sums[tile_rows * lanes<T>];
  for (index c = 0; c < s.depth; ++c) {
    vec<T> v_sum[2] = {};
    for (index p = panels.begin; p < panels.end; ++p) {
      const T* const keys = s.keys + (p * s.depth + c) * tile_rows;
      const T* const dS = s.dS + p * tile_rows * s.lanes_apart;
      for (index r = 0; r < tile_rows; r += rows)
        add_slopes_of_keys<T, rows, Form, Careful>(
            keys + r, s.queries + c * s.lanes_apart, dS + r * s.lanes_apart, s.lanes_apart,
            s.seen[p], s.query_sums + c * s.lanes_apart, sums + r * lanes<T>, v_sum);
      for (index r = 0; r < tile_rows; r += 4)
        sum_lanes(sums + r * lanes<T>, s.key_sums + c * s.keys_apart + p * tile_rows + r);
    }
    const vec<T> v_all = v_sum[0] + v_sum[1];
    T sum = 0;
    for (int l = 0; l < lanes<T>; ++l) sum += v_all[l];
    s.v_sums[c] += T(slope_sign<Form>) * sum;
  }
}

/// What becomes of dS of additive scores: sums over keys and over queries, and where they go.
template <class T>
class additive_slopes {
 public:
  additive_slopes(const backward_args<T, true>& b, range queries, T* scratch)
      : b_(b), scratch_(scratch), depth_(b.scores.Q.cols) {
    const backward_layout& at = b.layout;
    queries_ = panel_at(scratch + at.query_panel, at.query_form, scratch + at.query_sizes);
    pack_panel(row_of(b.scores.Q, queries.begin), queries.count(), depth_, b.scores.Q.row_stride,
               b.scores.Q.col_stride, at.lanes, T(1), queries_.raw);
    begin_panel(queries_, depth_, at.lanes, queries.count());
    finite_ = queries_.most < infinity<T>;
    T* const factors = scratch + at.factors;
    T* const sums = query_sums();
    for (index k = 0; k < depth_ * at.lanes; k += lanes<T>) store(sums + k, vec<T>{});
    for (index c = 0; c < depth_; ++c) {
      factors[c] = b.v(0, c) * b.scale;
      finite_ = finite_ && factors[c] - factors[c] == 0;
    }
  }

  [[nodiscard]] bool finite() const { return finite_; }

  /// The keys that the walk has packed, once all queries have dS; `seen` are the lanes that have
  /// it, for each panel of keys.
  void add_keys(range keys, const range* seen, bool careful) {
    add_sums(keys.count(), seen, careful);
    add_rows(b_.dK, keys, scratch_ + b_.layout.key_sums, b_.layout.keys);
  }
  /// The queries, once all keys are done.
  void add_queries(range queries) { add_rows(b_.dQ, queries, query_sums(), b_.layout.lanes); }

 private:
  [[nodiscard]] T* query_sums() const { return scratch_ + b_.scores.layout.output; }

  /// Rows of Y += the rows of a panel, times v and the scale of the scores.
  void add_rows(const mutable_matrix_view<T>& Y, range rows, const T* panel, index width) {
    const T* const factors = scratch_ + b_.layout.factors;
    T* const unpacked = scratch_ + b_.layout.rows;
    const index d = Y.cols, step = tile_vectors * lanes<T>;
    for (index first = rows.begin; first < rows.end; first += step, panel += step) {
      const index left = rows.end - first, count = left < step ? left : step;
      unpack_panel(panel, width, unpacked, count, d, d, index(1));
      for (index r = 0; r < count; ++r)
        for (index c = 0; c < d; ++c) unpacked[r * d + c] *= factors[c];
      add_to_rows(Y, {first, first + count}, unpacked);
    }
  }

  void add_sums(index keys, const range* seen, bool careful) {
    const backward_layout& at = b_.layout;
    slope_sums<T> s;
    s.depth = depth_;
    s.lanes_apart = at.lanes;
    s.dS = scratch_ + at.score_gradients;
    s.seen = seen;
    s.query_sums = query_sums();
    s.key_sums = scratch_ + at.key_sums;
    s.keys_apart = at.keys;
    s.v_sums = b_.dv;
    // dS of the keys taken together stays in the first-level cache.
    const index panel_bytes = at.lanes * tile_rows * index(sizeof(T));
    const index room = index{16384} / panel_bytes, at_once = room < 1 ? 1 : room;
    const index panels = ceil_div(keys, index(tile_rows));
    for (index p = 0; p < panels; p += at_once)
      add_panels(s, {p, p + at_once < panels ? p + at_once : panels}, keys, careful);
  }

  void add_panels(slope_sums<T>& s, range panels, index keys, bool careful) {
    using form = additive_form;
    T most = queries_.most;
    for (index p = panels.begin; p < panels.end; ++p) {
      const T of_keys = keys_of(p, keys).most + queries_.most;
      most = of_keys > most ? of_keys : most;
    }
    const form chosen = careful || !(most <= moderate_sum<T>) ? form::large
                        : most <= small_sum<T>                ? form::small
                                                              : form::moderate;
    for (index p = panels.begin; p < panels.end; ++p) need(chosen, keys_of(p, keys));
    need_queries(chosen);
    const additive_panel<T> first = keys_of(0, keys);
    s.keys = chosen == form::large      ? first.raw
             : chosen == form::moderate ? first.exponential
                                        : first.tangent;
    s.queries = chosen == form::large      ? queries_.raw
                : chosen == form::moderate ? queries_.exponential
                                           : queries_.tangent;
    if (careful) return add_slopes<T, form::large, true>(s, panels);
    if (chosen == form::large) return add_slopes<T, form::large, false>(s, panels);
    if (chosen == form::moderate) return add_slopes<T, form::moderate, false>(s, panels);
    add_slopes<T, form::small, false>(s, panels);
  }

  /// Panel p of the walk's keys. Its exponentials are others, which v does not divide.
  [[nodiscard]] additive_panel<T> keys_of(index p, index keys) const {
    const tiled_layout& walk = b_.scores.layout;
    const index row = p * tile_rows, left = keys - row;
    additive_panel<T> panel = panel_at(scratch_ + walk.keys + row * depth_, walk.key_form,
                                       scratch_ + walk.key_sizes + row);
    panel.exponential = scratch_ + b_.layout.key_exponentials + row * depth_;
    begin_panel(panel, depth_, index(tile_rows), left < tile_rows ? left : tile_rows);
    return panel;
  }
  static void need(additive_form chosen, additive_panel<T> panel) {
    if (chosen == additive_form::moderate) need_exponential(panel);
    if (chosen == additive_form::small) need_tangent(panel);
  }
  void need_queries(additive_form chosen) {
    if (chosen == additive_form::moderate && !queries_.has_exponential) {
      const vec<T> half = broadcast(T(0.5));
      need_exponential(queries_);
      map_vectors(queries_.exponential, queries_.exponential, queries_.size,
                  [&](vec<T> x, index) SOFTLOOK_STAMP_LAMBDA { return x * half; });
    }
    if (chosen == additive_form::small) need_tangent(queries_);
  }

  const backward_args<T, true>& b_;
  T* scratch_;
  index depth_;
  additive_panel<T> queries_;
  bool finite_ = true;
};

/// Dot scores need nothing.
template <class T>
struct no_slopes {
  no_slopes(const backward_args<T, false>&, range, T*) {}
};
