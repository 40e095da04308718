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
// so those of one tile are computed a few at a time beside the products that score the next.

/// Scores of a register tile of queries and a tile of keys. Their exponentials and the products
/// with the values wait until the scores of the next tile are computed, beside whose products the
/// exponentials go.
template <class T>
struct scored_tile {
  query_tile<T>* queries = nullptr;
  T* S = nullptr;
  live_keys live;
  row_block<T> values{};
  index first_key = 0;
  softmax_step<T> softmax;
};

/// Edits the weights of a tile, as dropout does, once their sums are taken.
template <class T, bool Additive>
SOFTLOOK_SMALL void edit_weights(const forward_args<T, Additive>& a, const query_tile<T>& q,
                                 const live_keys& live, index first_key, T* P) {
  a.policy->weight.edit_queries(
      a.policy->weight.state, P,
      {live.runs, live.count, first_key, a.keys.rows, q.used, q.vectors * lanes<T>, 1, q.positions},
      *a.frame, a.whole);
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
  const bits forbidden = (bits)broadcast(T(-0.0));
  for (int r = 0; r < tile_rows; ++r)
    for (index x = 0; x < width; x += lanes<T>) {
      T* at = O + r * width + x;
      const T* weights = P + x;
      vec<T> sum = {};
      for (const product_run* run = live.runs; run < live.runs + live.count; ++run)
        for (index j = run->row; j < run->row + run->steps; ++j, weights += width) {
          const vec<T> p = load(weights);
          sum = select<T>((bits)p == forbidden, sum,
                          fma(broadcast(values.at[j * values.step + r]), p, sum));
        }
      store(at, q.started ? fma(load(at), load(correction + x), sum) : sum);
    }
}

template <class T, bool Additive>
SOFTLOOK_SMALL inline void add_careful_products(const forward_args<T, Additive>& a,
                                                query_tile<T>& q, const row_block<T>& values,
                                                const live_keys& live, const T* P,
                                                const T* correction) {
  for (index c = 0; c < a.layout.values; c += tile_rows)
    add_careful_product(q, value_operand(values, c), P, q.output + c * q.vectors * lanes<T>, live,
                        correction);
}

/// Oᵀ = Oᵀ·correction + Vᵀ Pᵀ; the first tile of a query begins its output. Prefetches rows of the
/// tile after k.
template <class T, bool Additive>
inline void add_products(const forward_args<T, Additive>& a, const scored_tile<T>& tile,
                         key_tile<T, Additive>& k, const T* correction) {
  const query_tile<T>& q = *tile.queries;
  const finish how = q.started ? finish::rescale : finish::store;
  const product_run& first = tile.live.runs[0];
  if (tile.live.count == 1 && first.to - first.from == tile_vectors)
    return product_of_columns<T, tile_rows, tile_vectors>(
        tile.values.data + first.row * tile.values.stride, tile.values.stride, tile.S, q.output,
        a.layout.values, first.steps, how, correction, k.next_values);
  for (index c = 0; c < a.layout.values; c += tile_rows) {
    k.next_values.prefetch();
    product_of_some(q, value_operand(tile.values, c), tile.S, q.output + c * q.vectors * lanes<T>,
                    tile.live.runs, tile.live.count, how, correction);
  }
}

/// Whether packing the next tile of keys writes over values that wait for their weights.
template <class T, bool Additive>
SOFTLOOK_ALWAYS_INLINE bool overwrites_values(const forward_args<T, Additive>&,
                                              const row_block<T>& waiting, const T* value_rows) {
  return waiting.data == value_rows;
}

/// The end of the walk that makes attention: an online softmax and the products with the values.
/// Two tiles of scores take turns: the current one is filled while the pending one waits.
template <class T, bool Additive, class Args = forward_args<T, Additive>>
class forward_end {
 public:
  using args = Args;
  explicit forward_end(const args& a, T* scratch)
      : scores_(scratch + a.layout.scores),
        score_tile_(a.layout.score_tile),
        correction_(scratch + a.layout.correction) {}

  SOFTLOOK_ALWAYS_INLINE softmax_step<T>* beside() {
    const bool whole = pending().queries && pending().softmax.vectors == tile_vectors;
    return whole ? &pending().softmax : nullptr;
  }
  SOFTLOOK_ALWAYS_INLINE score_place<T> next(const query_tile<T>& q) {
    scored_tile<T>& now = current();
    now.live.rows = now.live.count = 0;
    for (index x = 0; x < tile_vectors * lanes<T>; x += lanes<T>)
      store(now.softmax.top + x, broadcast(-infinity<T>));
    now.S = scores_ + turn_ * score_tile_;
    now.softmax.vectors = q.vectors;
    return {now.S, &now.live, now.softmax.top};
  }
  SOFTLOOK_ALWAYS_INLINE void before_packing(const args& a, key_tile<T, Additive>& k,
                                             const T* value_rows) {
    if (overwrites_values(a, pending().values, value_rows)) complete(a, pending(), k);
  }
  SOFTLOOK_ALWAYS_INLINE void take(const args& a, query_tile<T>& q, key_tile<T, Additive>& k) {
    scored_tile<T>& now = current();
    complete(a, pending(), k);
    if (now.live.rows == 0) return;
    if (!k.finite) return take_with_care(a, q, k);
    now.queries = &q;
    now.values = k.values;
    now.first_key = k.keys.begin;
    begin_exponentials(now.softmax, now.S, now.live.rows, q.maximum);
    if (score_tile_ == 0)
      complete(a, now, k);
    else
      turn_ = 1 - turn_;
  }
  SOFTLOOK_ALWAYS_INLINE void flush(const args& a, key_tile<T, Additive>& k) {
    complete(a, pending(), k);
  }
  SOFTLOOK_ALWAYS_INLINE void finish(const args& a, query_tile<T>& q) { write_output(a, q); }

 private:
  [[nodiscard]] SOFTLOOK_ALWAYS_INLINE scored_tile<T>& current() { return tiles_[turn_]; }
  [[nodiscard]] SOFTLOOK_ALWAYS_INLINE scored_tile<T>& pending() { return tiles_[1 - turn_]; }

  /// What is left of a tile: exponentials, running maximum and sum, values.
  SOFTLOOK_STAMP_WAY void complete(const args& a, scored_tile<T>& tile, key_tile<T, Additive>& k) {
    if (!tile.queries) return;
    query_tile<T>& q = *tile.queries;
    exponentiate_rest(tile.softmax);
    join_softmax(tile.softmax.top, tile.softmax.added, q.vectors * lanes<T>, q.maximum, q.sum,
                 correction_);
    if (a.policy->weight) edit_weights(a, q, tile.live, tile.first_key, tile.S);
    add_products(a, tile, k, correction_);
    q.started = true;
    tile.queries = nullptr;
  }
  /// Values that are not finite: one vector of queries after the other.
  SOFTLOOK_SMALL void take_with_care(const args& a, query_tile<T>& q, key_tile<T, Additive>& k) {
    scored_tile<T>& now = current();
    const index width = q.vectors * lanes<T>;
    for (index x = 0; x < width; x += lanes<T>)
      absorb_with_care(now.S + x, now.live.rows, width, q.maximum + x, q.sum + x, correction_ + x);
    if (a.policy->weight) edit_weights(a, q, now.live, k.keys.begin, now.S);
    add_careful_products(a, q, k.values, now.live, now.S, correction_);
    q.started = true;
  }

  scored_tile<T> tiles_[2];
  int turn_ = 0;
  T* scores_;
  index score_tile_;
  T* correction_;
};

template <class T, bool Additive>
SOFTLOOK_STAMP_WAY void tiled_forward(const forward_args<T, Additive>& a, range queries,
                                      T* scratch) {
  forward_end<T, Additive> end(a, scratch);
  walk_tiles(a, queries, scratch, end);
}
