// Attention of a block of queries, one key tile after the other.
//   \see Dao et al., "FlashAttention", 2022; Dao, "FlashAttention-2", 2023, algorithm 1.
//
// Scores are kept as keys × queries: queries lie in SIMD lanes, so maximum, exponential and sum are
// vertical, and Sᵀ = K Qᵀ and Oᵀ += Vᵀ Pᵀ are one micro-kernel whose scalars come from packed K and
// V.
//
// Traffic of a task of B queries: Q and O once (B·(d + e)), K and V once for each task. K is
// packed, V is read where it lies if its rows are contiguous: 8 columns of a row are a line of a
// panel already. These key_tile·(d + e) scalars stay in the second-level cache while every register
// tile of queries (width·(d + e + key_tile) scalars) passes over them. So memory is read (n /
// B)·m·(d + e) scalars in all, and B is as large as the packed queries and outputs may be in that
// cache.

/// One register tile of queries.
template <class T>
struct query_tile {
  int vectors = 0;
  index first = 0;  // position of lane 0
  index used = 0;   // lanes that hold a query
  range keys{};     // keys the mask may allow, and those of each vector of queries
  range live[tile_vectors]{};
  bool started = false;
  T* packed = nullptr;
  T* output = nullptr;  // Oᵀ, values × width
  T* maximum = nullptr;
  T* sum = nullptr;
  std::int32_t* positions = nullptr;
  additive_panel<T> additive{};
};

/// One tile of keys, packed on first use.
template <class T, bool Additive>
struct key_tile {
  range keys{};
  bool packed = false;
  bool finite = true;  // every value of the tile
  T* keys_packed = nullptr;
  row_block<T> values{};
  // Rows of the next tile that have not been asked for, and how many go with each product: all at
  // once they would wait for each other, and reading them on demand costs 5 % at d = 128.
  range next_keys{};
  range next_values{};
  index keys_at_once = 1;
  index values_at_once = 1;
  additive_panel<T> additive[Additive ? max_key_tile / tile_rows : 1]{};
};

template <class T, bool Additive>
inline void pack_queries(const forward_args<T, Additive>& a, query_tile<T>& q) {
  const index width = q.vectors * lanes<T>;
  const T scale = Additive ? T(1) : a.query_scale;
  pack_panel(row_of(a.Q, q.first), q.used, a.Q.cols, a.Q.row_stride, a.Q.col_stride, width, scale,
             q.packed);
  if constexpr (Additive) begin_panel(q.additive, a.Q.cols, width, q.used);
  for (index l = 0; l < width; ++l) {
    q.positions[l] = std::int32_t(q.first + (l < q.used ? l : 0));
    q.maximum[l] = -infinity<T>;
    q.sum[l] = 0;
  }
}

template <class T, bool Additive>
inline void pack_keys(const forward_args<T, Additive>& a, key_tile<T, Additive>& k, T* value_rows) {
  const index count = k.keys.count(), features = a.K.cols;
  k.packed = true;
  pack_panels(row_of(a.K, k.keys.begin), count, features, a.K.row_stride, a.K.col_stride, tile_rows,
              k.keys_packed);
  k.values = contiguous_rows(a.V, k.keys, a.layout.values, count, value_rows);
  k.finite = all_finite(k.values, count, a.V.cols);
  // Forms are computed in whole vectors: what lies behind the last panel must be numbers too.
  if constexpr (Additive) store(k.keys_packed + round_up(count, tile_rows) * features, vec<T>{});
  for (index r = 0; Additive && r < count; r += tile_rows)
    begin_panel(k.additive[r / tile_rows], features, tile_rows,
                count - r < tile_rows ? count - r : tile_rows);
}

/// The keys of a tile that some query of a register tile attends to: rows of scores, and products
/// of weights and values, are those of the runs alone.
struct live_keys {
  index rows = 0;
  index count = 0;
  product_run runs[max_key_tile / tile_rows];

  void add(index row, index steps, int from, int to) {
    product_run* last = runs + count - 1;
    rows += steps;
    if (count > 0 && last->row + last->steps == row && last->from == from && last->to == to)
      last->steps += steps;
    else
      runs[count++] = {row, steps, from, to};
  }
};

// The width of a register tile is known where it pays, in the three kernels behind these; all else
// is compiled once.

template <class T>
inline void tile_product(const query_tile<T>& q, const panel_operand<T, tile_rows>& A, const T* B,
                         T* C, const product_run* runs, index count, finish how,
                         const T* correction) {
  switch (q.vectors) {
    case 1:
      return product_of_runs<T, tile_rows, 1>(A, B, C, runs, count, how, correction);
    case 2:
      return product_of_runs<T, tile_rows, 2>(A, B, C, runs, count, how, correction);
    default:
      return product_of_runs<T, tile_rows, 3>(A, B, C, runs, count, how, correction);
  }
}

template <class T>
inline bool tile_absorb(const query_tile<T>& q, T* S, index rows, T* correction) {
  switch (q.vectors) {
    case 1:
      return absorb<T, 1>(S, rows, q.maximum, q.sum, correction);
    case 2:
      return absorb<T, 2>(S, rows, q.maximum, q.sum, correction);
    default:
      return absorb<T, 3>(S, rows, q.maximum, q.sum, correction);
  }
}

/// What is rare is compiled small.
template <class T>
inline void absorb_with_care(const query_tile<T>& q, T* S, index rows, T* correction) {
  const index width = q.vectors * lanes<T>;
  for (index x = 0; x < width; x += lanes<T>) {
    store(correction + x, spread(T(1)));
    absorb<T, 1, true>(S + x, rows, q.maximum + x, q.sum + x, correction + x, width);
  }
}

template <class T>
inline void tile_additive_scores(query_tile<T>& q, additive_panel<T>& keys, const T* v, index depth,
                                 index count, T* panel) {
  switch (q.vectors) {
    case 1:
      return additive_scores<T, 1>(keys, q.additive, v, depth, count, panel);
    case 2:
      return additive_scores<T, 2>(keys, q.additive, v, depth, count, panel);
    default:
      return additive_scores<T, 3>(keys, q.additive, v, depth, count, panel);
  }
}

/// Scores of a panel of keys against the vectors [from, to) of a register tile; what others get
/// means nothing.
template <class T, bool Additive>
inline void score_panel(const forward_args<T, Additive>& a, query_tile<T>& q,
                        key_tile<T, Additive>& k, index row, index count, int from, int to,
                        T* panel) {
  if constexpr (Additive) {
    tile_additive_scores(q, k.additive[row / tile_rows], a.v.data, a.Q.cols, count, panel);
  } else {
    const product_run all{0, a.K.cols, from, to};
    tile_product(q, {k.keys_packed + row * a.K.cols, tile_rows}, q.packed, panel, &all,
                 a.K.cols > 0, finish::store, static_cast<const T*>(nullptr));
  }
}

/// The vectors of a register tile that attend to some of the keys, as a run without steps.
template <class T>
inline product_run vectors_of(const query_tile<T>& q, range keys) {
  product_run run{0, 0, q.vectors, 0};
  for (int v = 0; v < q.vectors; ++v)
    if (!intersection(q.live[v], keys).empty()) {
      run.from = v < run.from ? v : run.from;
      run.to = v + 1;
    }
  return run;
}

/// Scores of the key rows [rows.begin, rows.end) of a tile, transformed and masked. Where the tile
/// is partial, coverage is asked again for each panel of rows; rows of S are those of live panels.
template <class T, bool Additive>
inline void fill_scores(const forward_args<T, Additive>& a, query_tile<T>& q,
                        key_tile<T, Additive>& k, range rows, coverage seen, T* S,
                        live_keys& live) {
  const index width = q.vectors * lanes<T>;
  const range queries{q.first, q.first + q.used};
  for (index r = rows.begin; r < rows.end; r += tile_rows) {
    T* panel = S + live.rows * width;
    expect_next(a.K, k.next_keys, k.keys_at_once);
    const index count = rows.end - r < tile_rows ? rows.end - r : tile_rows;
    const range keys{k.keys.begin + r, k.keys.begin + r + count};
    coverage here = seen;
    product_run used{0, 0, 0, q.vectors};
    if (seen == coverage::partial) {
      here = a.policy.coverage_of(a.policy.policies, queries, keys, a.shape);
      if (here == coverage::partial) used = vectors_of(q, keys);
    }
    if (here == coverage::none || used.from >= used.to) continue;
    score_panel(a, q, k, r, count, used.from, used.to, panel);
    if (a.policy.transforms || here == coverage::partial)
      a.policy.edit_queries(a.policy.policies, panel,
                            {width, std::int32_t(count), q.vectors, std::int32_t(keys.begin),
                             q.positions, here == coverage::partial},
                            a.shape, a.factor);
    live.add(r, count, used.from, used.to);
  }
}

/// Columns [column, column + tile_rows) of the values of a tile as the left operand.
template <class T, bool Additive>
SOFTLOOK_ALWAYS_INLINE panel_operand<T, tile_rows> value_operand(const key_tile<T, Additive>& k,
                                                                 index column) {
  return {k.values.data + column, k.values.stride};
}

/// Oᵀ = Oᵀ·correction + Vᵀ Pᵀ where some value is not finite: a weight of −0 (a score of −∞)
/// touches nothing.
template <class T>
inline void add_careful_product(const query_tile<T>& q, const panel_operand<T, tile_rows>& values,
                                const T* P, T* O, const live_keys& live, const T* correction) {
  const index width = q.vectors * lanes<T>;
  using bits = typename simd<T>::bits;
  const bits forbidden = (bits)spread(T(-0.0));
  for (int r = 0; r < tile_rows; ++r)
    for (index x = 0; x < width; x += lanes<T>) {
      T* at = O + r * width + x;
      const T* weights = P + x;
      vec<T> sum = {};
      for (const product_run* run = live.runs; run < live.runs + live.count; ++run)
        for (index j = run->row; j < run->row + run->steps; ++j, weights += width) {
          const vec<T> p = load(weights);
          sum = blend<T>((bits)p == forbidden, sum,
                         fused(spread(values.at[j * values.step + r]), p, sum));
        }
      store(at, q.started ? fused(load(at), load(correction + x), sum) : sum);
    }
}

template <class T, bool Additive>
inline void add_careful_products(const forward_args<T, Additive>& a, query_tile<T>& q,
                                 const key_tile<T, Additive>& k, const live_keys& live, const T* P,
                                 const T* correction) {
  for (index c = 0; c < a.layout.values; c += tile_rows)
    add_careful_product(q, value_operand(k, c), P, q.output + c * q.vectors * lanes<T>, live,
                        correction);
}

/// Oᵀ = Oᵀ·correction + Vᵀ Pᵀ; the first tile of a query begins its output.
template <class T, bool Additive>
inline void add_products(const forward_args<T, Additive>& a, query_tile<T>& q,
                         key_tile<T, Additive>& k, const live_keys& live, const T* P, bool grew,
                         const T* correction) {
  const finish how = !q.started ? finish::store : grew ? finish::rescale : finish::add;
  for (index c = 0; c < a.layout.values; c += tile_rows) {
    expect_next(a.V, k.next_values, k.values_at_once);
    tile_product(q, value_operand(k, c), P, q.output + c * q.vectors * lanes<T>, live.runs,
                 live.count, how, correction);
  }
}

/// Scores, online softmax, values: the queries of one register tile meet one tile of keys.
template <class T, bool Additive>
inline void meet(const forward_args<T, Additive>& a, query_tile<T>& q, key_tile<T, Additive>& k,
                 range rows, coverage seen, T* scratch) {
  T* S = scratch + a.layout.scores;
  T* correction = scratch + a.layout.correction;
  live_keys live;
  fill_scores(a, q, k, rows, seen, S, live);
  if (live.rows == 0) return;
  if (k.finite) {
    const bool grew = tile_absorb(q, S, live.rows, correction);
    add_products(a, q, k, live, S, grew, correction);
  } else {
    absorb_with_care(q, S, live.rows, correction);
    add_careful_products(a, q, k, live, S, correction);
  }
  q.started = true;
}

/// O / l and m + log l. A query without a key has l = 0: a row of zeros, log-sum-exp −∞.
template <class T, bool Additive>
inline void write_output(const forward_args<T, Additive>& a, query_tile<T>& q) {
  const index width = q.vectors * lanes<T>;
  if (a.log_sum_exp)
    for (index l = 0; l < q.used; ++l)
      a.log_sum_exp[(q.first + l) * a.log_sum_exp_stride] =
          natural_log_sum_exp(q.maximum[l], q.sum[l]);
  for (index x = 0; x < width; x += lanes<T>)
    store(q.sum + x, reciprocal_or_one<T>(load(q.sum + x)));
  if (!q.started)
    for (index x = 0; x < a.O.cols * width; x += lanes<T>) store(q.output + x, vec<T>{});
  unpack_panel(q.output, width, row_of(a.O, q.first), q.used, a.O.cols, a.O.row_stride,
               a.O.col_stride, q.sum);
}

/// The keys that the mask may allow.
template <class T, bool Additive>
inline void find_keys(const forward_args<T, Additive>& a, query_tile<T>& q) {
  q.keys = {};
  for (int v = 0; v < q.vectors; ++v) {
    const index first = q.first + v * lanes<T>;
    const range queries = intersection({first, first + lanes<T>}, {q.first, q.first + q.used});
    if (queries.empty()) break;
    q.live[v] =
        intersection(a.policy.key_range(a.policy.policies, queries, a.shape), {0, a.K.rows});
    q.keys = hull(q.keys, q.live[v]);
  }
}

/// Cuts the queries of a task into register tiles; a remainder of 4 vectors is 2 + 2, not 3 + 1.
template <class T, bool Additive>
inline index cut_queries(const forward_args<T, Additive>& a, range queries, T* scratch,
                         query_tile<T>* tiles) {
  const tiled_layout& at = a.layout;
  constexpr index full = tile_vectors * lanes<T>;
  index count = 0;
  for (index first = queries.begin; first < queries.end; ++count) {
    const index left = ceil_div(queries.end - first, lanes<T>);
    query_tile<T>& q = tiles[count];
    q.vectors = int(left == 4 ? 2 : left < tile_vectors ? left : tile_vectors);
    q.first = first;
    const index room = q.vectors * lanes<T>, rest = queries.end - first;
    q.used = rest < room ? rest : room;
    q.packed = scratch + at.queries + count * full * a.Q.cols;
    q.output = scratch + at.output + count * full * at.values;
    q.maximum = scratch + at.maximum + count * full;
    q.sum = scratch + at.sum + count * full;
    q.positions = reinterpret_cast<std::int32_t*>(scratch + at.positions) + count * full;
    q.additive.raw = q.packed;
    q.additive.exponential = q.packed + at.query_form;
    q.additive.tangent = q.packed + 2 * at.query_form;
    q.additive.largest = scratch + at.query_sizes + count * full;
    find_keys(a, q);
    pack_queries(a, q);
    first += q.used;
  }
  return count;
}

template <class T, bool Additive>
inline void visit(const forward_args<T, Additive>& a, query_tile<T>& q, key_tile<T, Additive>& k,
                  T* scratch) {
  const range live = intersection(q.keys, k.keys);
  if (live.empty()) return;
  // From the start of a panel of rows; rows before the live ones are masked away.
  const range rows{(live.begin - k.keys.begin) / tile_rows * tile_rows, live.end - k.keys.begin};
  const coverage seen =
      a.policy.coverage_of(a.policy.policies, {q.first, q.first + q.used},
                           {k.keys.begin + rows.begin, k.keys.begin + rows.end}, a.shape);
  if (seen == coverage::none) return;
  if (!k.packed) pack_keys(a, k, scratch + a.layout.value_rows);
  meet(a, q, k, rows, seen, scratch);
}

template <class T, bool Additive>
inline void begin_key_tile(const forward_args<T, Additive>& a, range keys, T* scratch,
                           key_tile<T, Additive>& k) {
  const tiled_layout& at = a.layout;
  k.keys = keys;
  k.packed = false;
  k.keys_packed = scratch + at.keys;
  k.next_keys = k.next_values = intersection({keys.end, keys.end + at.key_tile}, {0, a.K.rows});
  for (index r = 0; Additive && r < keys.count(); r += tile_rows) {
    additive_panel<T>& p = k.additive[r / tile_rows];
    p.raw = k.keys_packed + r * a.K.cols;
    p.exponential = p.raw + at.key_form;
    p.tangent = p.raw + 2 * at.key_form;
    p.largest = scratch + at.key_sizes + r;
  }
}

/// Shares the rows of the next tile out among the products with this one.
template <class T, bool Additive>
inline void spread_requests(const forward_args<T, Additive>& a, const query_tile<T>* tiles,
                            index count, key_tile<T, Additive>& k) {
  index visits = 0;
  for (index t = 0; t < count; ++t) visits += !intersection(tiles[t].keys, k.keys).empty();
  const auto share = [&](index rows, index panels) SOFTLOOK_STAMP_LAMBDA {
    const index products = visits * ceil_div(panels, index(tile_rows));
    return products > 0 ? ceil_div(rows, products) : 0;
  };
  k.keys_at_once = share(k.next_keys.count(), k.keys.count());
  k.values_at_once = share(k.next_values.count(), a.layout.values);
}

template <class T, bool Additive>
void tiled_forward(const forward_args<T, Additive>& a, range queries, T* scratch) {
  query_tile<T> tiles[max_query_tiles];
  key_tile<T, Additive> k;
  const index count = cut_queries(a, queries, scratch, tiles);
  range keys{};
  for (index t = 0; t < count; ++t) keys = hull(keys, tiles[t].keys);
  const index step = a.layout.key_tile;
  for (index first = keys.begin / step * step; first < keys.end; first += step) {
    begin_key_tile(a, {first, first + step < a.K.rows ? first + step : a.K.rows}, scratch, k);
    spread_requests(a, tiles, count, k);
    for (index t = 0; t < count; ++t) visit(a, tiles[t], k, scratch);
  }
  for (index t = 0; t < count; ++t) write_output(a, tiles[t]);
}
