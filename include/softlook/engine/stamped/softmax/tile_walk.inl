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
// An end is inlined into the walk, so that forward attention costs what it would without one. How
// tiles are packed and multiplied is said by the type of the arguments: pack_queries(),
// pack_keys(), score_panels() and add_products() of forward_args, or those of others made of them.

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
  T* top = nullptr;  // raised to the scores of each query, if it is wanted
  T* raw = nullptr;  // the scores before transforms, where they are wanted
};

// The width of a register tile is known where it pays, in the three kernels behind these; all else
// is compiled once.

/// C = A · B over some runs, for each width.
template <class T>
inline void product_of_some(const query_tile<T>& q, const panel_operand<T, tile_rows>& A,
                            const T* B, T* C, const product_run* runs, index count, finish how,
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

/// Scores of the key rows [row, row + count) of a tile against the vectors [from, to) of a register
/// tile; what others get means nothing. Returns whether the maximum `top`, if there is one, has
/// been raised to them.
template <class T, bool Additive, class Work>
inline bool score_panels(const forward_args<T, Additive>& a, query_tile<T>& q,
                         key_tile<T, Additive>& k, index row, index count, int from, int to,
                         Work* beside, T* top, T* S) {
  rows_ahead<T>& ahead = k.next_keys;
  const index depth = a.keys.cols, width = q.vectors * lanes<T>;
  if constexpr (Additive) {
    for (index r = 0; r < count; r += tile_rows, S += tile_rows * width) {
      ahead.prefetch();
      tile_additive_scores(q, k.additive[(row + r) / tile_rows], a.v.data, depth,
                           count - r < tile_rows ? count - r : tile_rows, S);
    }
    return false;
  } else {
    if (to - from == tile_vectors && depth > 0) {
      const bool whole = count % tile_rows == 0;
      product_beside<T, tile_rows, tile_vectors, Work>(k.keys_packed + row * depth, q.packed, S,
                                                       ceil_div(count, index(tile_rows)), depth,
                                                       whole ? top : nullptr, beside, ahead);
      return whole && top;
    }
    const product_run all{0, depth, from, to};
    for (index r = 0; r < count; r += tile_rows, S += tile_rows * width) {
      ahead.prefetch();
      product_of_some(q, {k.keys_packed + (row + r) * depth, tile_rows}, q.packed, S, &all,
                      depth > 0, finish::store, static_cast<const T*>(nullptr));
    }
    return false;
  }
}

/// Whether some query of a vector of a register tile attends to some of the keys.
template <class T, bool Additive>
inline bool is_live(const forward_args<T, Additive>& a, const query_tile<T>& q, int v, range keys) {
  if (intersection(q.live[v], keys).empty()) return false;
  if (q.vectors == 1) return true;
  const index first = q.first + v * lanes<T>, last = q.first + q.used;
  const range queries{first, first + lanes<T> < last ? first + lanes<T> : last};
  return coverage_of_rows(*a.policy, *a.frame, a.whole, queries, keys, a.keys.rows) !=
         coverage::none;
}

/// The vectors of a register tile that attend to some of the keys, as a run without steps: from the
/// first to the last of them.
template <class T, bool Additive>
inline product_run vectors_of(const forward_args<T, Additive>& a, const query_tile<T>& q,
                              range keys) {
  product_run run{0, 0, 0, q.vectors};
  while (run.from < run.to && !is_live(a, q, run.from, keys)) ++run.from;
  while (run.from + 1 < run.to && !is_live(a, q, run.to - 1, keys)) --run.to;
  return run;
}

/// Scores of some key rows of a tile, transformed, masked if they are partial, and their maximum.
template <class Args, class T, bool Additive, class Work>
SOFTLOOK_STAMP_WAY inline void fill_rows(const Args& a, query_tile<T>& q, key_tile<T, Additive>& k,
                                         index row, index count, const product_run& used,
                                         bool partial, Work* beside, const score_place<T>& to) {
  const index width = q.vectors * lanes<T>, first = to.live->rows * width;
  T* const S = to.S + first;
  const bool edited = a.policy->transform || partial;
  if (a.policy->transform.prefetch && a.frame->plain()) {
    const index query = a.frame->query(q.first), key = a.frame->key(k.keys.begin + row);
    a.policy->transform.prefetch(a.policy->transform.transform, {query, query + q.used},
                                 {key, key + count}, a.whole);
  }
  const bool raised =
      score_panels(a, q, k, row, count, used.from, used.to, beside, edited ? nullptr : to.top, S);
  if (to.raw) __builtin_memcpy(to.raw + first, S, std::size_t(count * width) * sizeof(T));
  if (edited)
    edit_panel(*a.policy, *a.frame, a.whole,
               {width, std::int32_t(count), q.vectors, 0, q.positions}, {q.first, q.first + q.used},
               k.keys.begin + row, a.keys.rows, partial, a.score_unit, S);
  if (to.top && !raised) raise_to_panel(S, count, width, to.top);
  to.live->add(row, count, used.from, used.to);
}

/// Scores of the key rows [rows.begin, rows.end) of a tile. Where the tile is partial, coverage is
/// asked again for each panel of rows; rows of S are those of live panels.
template <class Args, class T, bool Additive, class Work>
SOFTLOOK_STAMP_WAY inline void fill_scores(const Args& a, query_tile<T>& q,
                                           key_tile<T, Additive>& k, range rows, coverage seen,
                                           Work* beside, const score_place<T>& to) {
  const range queries{q.first, q.first + q.used};
  const product_run all{0, 0, 0, q.vectors};
  if (seen == coverage::full)
    return fill_rows(a, q, k, rows.begin, rows.count(), all, false, beside, to);
  index first = rows.begin;  // of the full panels that wait for the next that is not
  for (index r = rows.begin; r < rows.end; r += tile_rows) {
    const index count = rows.end - r < tile_rows ? rows.end - r : tile_rows;
    const range keys{k.keys.begin + r, k.keys.begin + r + count};
    const coverage here =
        coverage_of_rows(*a.policy, *a.frame, a.whole, queries, keys, a.keys.rows);
    if (here == coverage::full) continue;
    if (first < r) fill_rows(a, q, k, first, r - first, all, false, beside, to);
    first = r + count;
    if (here == coverage::none) continue;
    const product_run used = vectors_of(a, q, keys);
    if (used.from < used.to) fill_rows(a, q, k, r, count, used, true, beside, to);
  }
  if (first < rows.end) fill_rows(a, q, k, first, rows.end - first, all, false, beside, to);
}

/// Spreads what is read of the next tile over the products with this one.
template <class T, bool Additive>
inline void share_prefetches(const forward_args<T, Additive>& a, const query_tile<T>* tiles,
                             index count, key_tile<T, Additive>& k) {
  index visits = 0;
  for (index t = 0; t < count; ++t) visits += !intersection(tiles[t].keys, k.keys).empty();
  k.next_keys.spread(visits * ceil_div(k.keys.count(), index(tile_rows)));
  k.next_values.spread(visits * ceil_div(a.layout.values, index(tile_rows)));
}

/// The register tile of queries q and the tile of keys k.
template <class Args, class T, bool Additive, class End>
SOFTLOOK_STAMP_WAY inline void process_tile(const Args& a, query_tile<T>& q,
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
  fill_scores(a, q, k, rows, seen, end.beside(), to);
  end.take(a, q, k);
}

/// All tiles of keys, each with all register tiles of a block of queries.
template <class Args, class T, class End>
SOFTLOOK_STAMP_WAY inline void walk_tiles(const Args& a, range queries, T* scratch, End& end) {
  query_tile<T> tiles[max_query_tiles];
  key_tile<T, Args::additive> k;
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
