// The walk of a block of queries over the tiles of keys that it may attend to: what is computed of
// each tile are its scores; what becomes of them is the end's, a template parameter:
//
//   work* beside()                  work that goes beside the products of the next scores, or null
//   place of scores next(q)         where the scores of the next tile go
//   void before_packing(a, k, to)   rows of values are about to be written to `to`
//   void take(a, q, k)              the scores are there
//   void flush(a, k)                after the last tile of keys
//   void finish(a, q)               for each register tile of queries
//
// An end is inlined into the walk, so that forward attention costs what it would without one.

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

/// Where the scores of a register tile of queries and a tile of keys go.
template <class T>
struct score_place {
  T* S = nullptr;
  live_keys* live = nullptr;
  T* top = nullptr;  // raised to the scores of each query
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
template <class T, bool Additive, class Work>
inline bool score_panel(const forward_args<T, Additive>& a, query_tile<T>& q,
                        key_tile<T, Additive>& k, index row, index count, int from, int to,
                        side_work<Work> beside, T* top, T* panel) {
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

/// The next turns of work that goes beside products, evenly spread over the steps of one.
template <class Work>
inline side_work<Work> share_of(Work* other, index depth) {
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
template <class T, bool Additive, class Work>
inline void fill_scores(const forward_args<T, Additive>& a, query_tile<T>& q,
                        key_tile<T, Additive>& k, range rows, coverage seen, T* S, live_keys& live,
                        Work* other, T* top) {
  const index width = q.vectors * lanes<T>;
  const range queries{q.first, q.first + q.used};
  side_work<Work> beside = share_of(other, a.keys.cols);
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
                 a.keys.rows, here == coverage::partial, a.score_unit, panel);
    if (!raised) raise_to_panel(panel, count, width, top);
    live.add(r, count, used.from, used.to);
  }
}

/// How many rows of the next tile each product with this one prefetches.
template <class T, bool Additive>
inline void share_prefetches(const forward_args<T, Additive>& a, const query_tile<T>* tiles,
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

/// The register tile of queries q and the tile of keys k.
template <class T, bool Additive, class End>
inline void process_tile(const forward_args<T, Additive>& a, query_tile<T>& q,
                         key_tile<T, Additive>& k, T* scratch, End& end) {
  const range live = intersection(q.keys, k.keys);
  if (live.empty()) return;
  // From the start of a panel of rows; rows before the live ones are masked away.
  const range rows{(live.begin - k.keys.begin) / tile_rows * tile_rows, live.end - k.keys.begin};
  const coverage seen =
      coverage_of_rows(*a.policy, *a.frame, a.whole, {q.first, q.first + q.used},
                       {k.keys.begin + rows.begin, k.keys.begin + rows.end}, a.keys.rows);
  if (seen == coverage::none) return;
  if (!k.packed) {
    T* value_rows = scratch + a.layout.value_rows;
    end.before_packing(a, k, value_rows);
    pack_keys(a, k, value_rows);
  }
  const score_place<T> to = end.next(q);
  fill_scores(a, q, k, rows, seen, to.S, *to.live, end.beside(), to.top);
  end.take(a, q, k);
}

/// All tiles of keys, each with all register tiles of a block of queries.
template <class T, bool Additive, class End>
inline void walk_tiles(const forward_args<T, Additive>& a, range queries, T* scratch, End& end) {
  query_tile<T> tiles[max_query_tiles];
  key_tile<T, Additive> k;
  const index count = cut_queries(a, queries, scratch, tiles);
  range keys{};
  for (index t = 0; t < count; ++t) keys = hull(keys, tiles[t].keys);
  const index step = a.layout.key_tile;
  for (index first = keys.begin / step * step; first < keys.end; first += step) {
    begin_key_tile(a, {first, first + step < a.keys.rows ? first + step : a.keys.rows}, scratch, k);
    share_prefetches(a, tiles, count, k);
    for (index t = 0; t < count; ++t) process_tile(a, tiles[t], k, scratch, end);
  }
  end.flush(a, k);
  for (index t = 0; t < count; ++t) end.finish(a, tiles[t]);
}
