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
//
// Exponentials need the units of additions for more than half of their operations, products never:
// so those of one visit are computed a few at a time beside the products that score the next.

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

/// A register tile of queries meets a tile of keys. Its weights and their products with the values
/// wait until the scores of the next visit are computed, whose products its exponentials go beside.
template <class T>
struct tile_visit {
  query_tile<T>* queries = nullptr;
  T* S = nullptr;
  live_keys live;
  row_block<T> values{};
  softmax_step<T> softmax;
};

// The width of a register tile is known where it pays, in the three kernels behind these; all else
// is compiled once.

template <class T>
inline void tile_product(const query_tile<T>& q, const panel_operand<T, tile_rows>& A, const T* B,
                         T* C, const product_run* runs, index count, finish how,
                         const T* correction) {
  if (count == 1 && runs->to - runs->from == tile_vectors)
    return product_beside<T, tile_rows, tile_vectors, softmax_step<T>>(
        {A.at + runs->row * A.step, A.step}, B, C, runs->steps, how, correction, nullptr, {});
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
inline void tile_exponentiate(softmax_step<T>& step) {
  switch (step.vectors) {
    case 1:
      return exponentiate_rest<T, 1>(step);
    case 2:
      return exponentiate_rest<T, 2>(step);
    default:
      return exponentiate_rest<T, 3>(step);
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
/// means nothing. Returns whether the maximum `top` has been raised to them.
template <class T, bool Additive>
inline bool score_panel(const forward_args<T, Additive>& a, query_tile<T>& q,
                        key_tile<T, Additive>& k, index row, index count, int from, int to,
                        side_work<softmax_step<T>> beside, T* top, T* panel) {
  if constexpr (Additive) {
    tile_additive_scores(q, k.additive[row / tile_rows], a.v.data, a.Q.cols, count, panel);
  } else {
    const panel_operand<T, tile_rows> keys{k.keys_packed + row * a.keys.cols, tile_rows};
    const bool whole = to - from == tile_vectors && a.keys.cols > 0;
    if (whole) {
      top = count == tile_rows ? top : nullptr;
      product_beside<T, tile_rows, tile_vectors>(keys, q.packed, panel, a.keys.cols, finish::store,
                                                 static_cast<const T*>(nullptr), top, beside);
      return top;
    }
    const product_run all{0, a.keys.cols, from, to};
    tile_product(q, keys, q.packed, panel, &all, a.keys.cols > 0, finish::store,
                 static_cast<const T*>(nullptr));
  }
  return false;
}

/// The next exponentials of another visit, evenly spread over the steps of a product.
template <class T>
inline side_work<softmax_step<T>> share_of(softmax_step<T>* other, index depth) {
  if (!other) return {};
  const index even = depth / (other->vectors * tile_rows), steps = even < 2 ? 2 : even;
  const index turns = depth / steps, left = other->left();
  return {other, turns < left ? turns : left, steps};
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
                        key_tile<T, Additive>& k, range rows, coverage seen, T* S, live_keys& live,
                        softmax_step<T>* other, T* top) {
  const index width = q.vectors * lanes<T>;
  const range queries{q.first, q.first + q.used};
  side_work<softmax_step<T>> beside = share_of(other, a.keys.cols);
  for (index r = rows.begin; r < rows.end; r += tile_rows) {
    T* panel = S + live.rows * width;
    prefetch_rows(a.keys, k.next_keys, k.keys_at_once);
    const index count = rows.end - r < tile_rows ? rows.end - r : tile_rows;
    const range keys{k.keys.begin + r, k.keys.begin + r + count};
    coverage here = seen;
    product_run used{0, 0, 0, q.vectors};
    if (seen == coverage::partial) {
      here = coverage_of_rows(*a.policy, *a.frame, a.whole, queries, keys, a.keys.rows);
      if (here == coverage::partial) used = vectors_of(q, keys);
    }
    if (here == coverage::none || used.from >= used.to) continue;
    if (other && beside.turns > other->left()) beside.turns = other->left();
    const bool edited = a.policy->transform || here == coverage::partial;
    const bool raised =
        score_panel(a, q, k, r, count, used.from, used.to, beside, edited ? nullptr : top, panel);
    if (edited)
      edit_panel(*a.policy, *a.frame, a.whole,
                 {width, std::int32_t(count), q.vectors, 0, q.positions}, queries, keys.begin,
                 a.keys.rows, here == coverage::partial, a.factor, panel);
    if (!raised) raise_to_panel(panel, count, width, top);
    live.add(r, count, used.from, used.to);
  }
}

/// Columns [column, column + tile_rows) of the values of a tile as the left operand.
template <class T>
SOFTLOOK_ALWAYS_INLINE panel_operand<T, tile_rows> value_operand(const row_block<T>& values,
                                                                 index column) {
  return {values.data + column, values.stride};
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
                                 const row_block<T>& values, const live_keys& live, const T* P,
                                 const T* correction) {
  for (index c = 0; c < a.layout.values; c += tile_rows)
    add_careful_product(q, value_operand(values, c), P, q.output + c * q.vectors * lanes<T>, live,
                        correction);
}

/// Oᵀ = Oᵀ·correction + Vᵀ Pᵀ; the first tile of a query begins its output. Asks for rows of the
/// tile that comes after k.
template <class T, bool Additive>
inline void add_products(const forward_args<T, Additive>& a, const tile_visit<T>& visit,
                         key_tile<T, Additive>& k, bool grew, const T* correction) {
  const query_tile<T>& q = *visit.queries;
  const finish how = !q.started ? finish::store : grew ? finish::rescale : finish::add;
  for (index c = 0; c < a.layout.values; c += tile_rows) {
    prefetch_rows(a.values, k.next_values, k.values_at_once);
    tile_product(q, value_operand(visit.values, c), visit.S, q.output + c * q.vectors * lanes<T>,
                 visit.live.runs, visit.live.count, how, correction);
  }
}

/// What is left of a visit: exponentials, running maximum and sum, values.
template <class T, bool Additive>
inline void end_visit(const forward_args<T, Additive>& a, tile_visit<T>& visit,
                      key_tile<T, Additive>& k, T* scratch) {
  if (!visit.queries) return;
  query_tile<T>& q = *visit.queries;
  T* correction = scratch + a.layout.correction;
  tile_exponentiate(visit.softmax);
  const bool grew = join_softmax(visit.softmax.top, visit.softmax.added, q.vectors * lanes<T>,
                                 q.maximum, q.sum, correction);
  add_products(a, visit, k, grew, correction);
  q.started = true;
  visit.queries = nullptr;
}

/// The visit whose scores are computed and the one before, which may wait for its exponentials.
template <class T>
struct visit_pair {
  tile_visit<T> visits[2];
  int turn = 0;
  [[nodiscard]] tile_visit<T>& now() { return visits[turn]; }
  [[nodiscard]] tile_visit<T>& before() { return visits[1 - turn]; }
};

/// Scores, online softmax, values: the queries of one register tile meet one tile of keys.
template <class T, bool Additive>
inline void meet(const forward_args<T, Additive>& a, query_tile<T>& q, key_tile<T, Additive>& k,
                 range rows, coverage seen, visit_pair<T>& pair, T* scratch) {
  tile_visit<T>& now = pair.now();
  tile_visit<T>& before = pair.before();
  live_keys& live = now.live;
  live.rows = live.count = 0;
  for (index x = 0; x < tile_vectors * lanes<T>; x += lanes<T>)
    store(now.softmax.top + x, spread(-infinity<T>));
  now.S = scratch + a.layout.scores + pair.turn * a.layout.score_tile;
  now.softmax.vectors = q.vectors;
  fill_scores(a, q, k, rows, seen, now.S, live, before.queries ? &before.softmax : nullptr,
              now.softmax.top);
  end_visit(a, before, k, scratch);
  if (live.rows == 0) return;
  if (!k.finite) {
    T* correction = scratch + a.layout.correction;
    for (index x = 0; x < q.vectors * lanes<T>; x += lanes<T>)
      absorb_with_care(now.S + x, live.rows, q.vectors * lanes<T>, q.maximum + x, q.sum + x,
                       correction + x);
    add_careful_products(a, q, k.values, live, now.S, correction);
    q.started = true;
    return;
  }
  now.queries = &q;
  now.values = k.values;
  begin_exponentials(now.softmax, now.S, live.rows, q.maximum);
  if (a.layout.score_tile == 0)
    end_visit(a, now, k, scratch);
  else
    pair.turn = 1 - pair.turn;
}

template <class T, bool Additive>
inline void visit(const forward_args<T, Additive>& a, query_tile<T>& q, key_tile<T, Additive>& k,
                  visit_pair<T>& pair, T* scratch) {
  const range live = intersection(q.keys, k.keys);
  if (live.empty()) return;
  // From the start of a panel of rows; rows before the live ones are masked away.
  const range rows{(live.begin - k.keys.begin) / tile_rows * tile_rows, live.end - k.keys.begin};
  const coverage seen = coverage_of_rows(*a.policy, *a.frame, a.whole, {q.first, q.first + q.used},
                                         {k.keys.begin + rows.begin, k.keys.begin + rows.end},
                                         a.keys.rows);
  if (seen == coverage::none) return;
  if (!k.packed) {
    T* value_rows = scratch + a.layout.value_rows;
    if (pair.before().values.data == value_rows) end_visit(a, pair.before(), k, scratch);
    pack_keys(a, k, value_rows);
  }
  meet(a, q, k, rows, seen, pair, scratch);
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
  visit_pair<T> pair;
  const index count = cut_queries(a, queries, scratch, tiles);
  range keys{};
  for (index t = 0; t < count; ++t) keys = hull(keys, tiles[t].keys);
  const index step = a.layout.key_tile;
  for (index first = keys.begin / step * step; first < keys.end; first += step) {
    begin_key_tile(a, {first, first + step < a.keys.rows ? first + step : a.keys.rows}, scratch, k);
    spread_requests(a, tiles, count, k);
    for (index t = 0; t < count; ++t) visit(a, tiles[t], k, pair, scratch);
  }
  end_visit(a, pair.before(), k, scratch);
  for (index t = 0; t < count; ++t) write_output(a, tiles[t]);
}
