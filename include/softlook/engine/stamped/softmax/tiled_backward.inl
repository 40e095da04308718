// The way back through attention, for a block of queries and some keys, one tile of keys after the
// other. S is computed again; with P = 4^(S − L) and D_i = Σ_c dO_ic O_ic
//   dV += Pᵀ dO,  dP = dO Vᵀ,  dS = P ∘ (dP − D) ∘ f'(S),  dQ += scale·dS K,  dK += scale·dSᵀ Q
//   \see Dao et al., "FlashAttention", 2022, algorithm 4; Dao, "FlashAttention-2", 2023,
//   algorithm 2.
//
// Tiles are those of the walk, queries in lanes: dPᵀ = V dOᵀ is a product like that of the scores,
// and the exponentials go beside it; dQᵀ += Kᵀ dSᵀ is one like that of the values. dV and dK are
// sums over queries: P and dS of a tile of keys wait until all register tiles of queries are there,
// and their rows are then the left operands of a product with dO and Q, features in lanes.

/// A forbidden pair, which touches nothing (decision 3).
template <class T>
inline constexpr T no_pair = T(-0.0);

/// A number of dO and one of V have a finite product, and so have their sums. Beyond that a
/// forbidden weight, 0, would meet ∞.
template <class T>
inline constexpr T most_factor = sizeof(T) == 4 ? T(0x1p50) : T(0x1p500);

template <class T, bool Additive>
class backward_end {
 public:
  using args = forward_args<T, Additive>;
  backward_end(const backward_args<T, Additive>& b, range queries, T* scratch)
      : b_(b),
        at_(b.layout),
        queries_(queries),
        scratch_(scratch),
        S_(scratch + b.layout.walk.scores),
        slopes_(b, queries, scratch) {
    const index count = queries.count();
    finite_ = pack_block(b.dO, queries, T(1), most_factor<T>, scratch + at_.output_rows);
    if constexpr (Additive)
      finite_ = finite_ && slopes_.finite();
    else
      finite_ = pack_block(b.scores.Q, queries, b.scale, infinity<T>, scratch + at_.query_rows) &&
                finite_;
    for (index l = 0; l < at_.lanes; ++l) {
      const bool used = l < count;
      scratch[at_.logs + l] = used ? b.log_sum_exp[queries.begin + l] : infinity<T>;
      scratch[at_.dots + l] = used ? b.dots[queries.begin + l] : T(0);
      // Of finite numbers, too, where a score or an output overflowed.
      if (used) {
        const T L = scratch[at_.logs + l], D = scratch[at_.dots + l];
        finite_ = finite_ && L - L == 0 && D - D == 0;
      }
    }
    for (index x = 0; x < tile_vectors * lanes<T>; x += lanes<T>)
      store(scratch + at_.ones + x, broadcast(T(1)));
  }

  SOFTLOOK_ALWAYS_INLINE softmax_step<T>* beside() { return nullptr; }
  SOFTLOOK_ALWAYS_INLINE score_place<T> next(const query_tile<T>&) {
    live_.rows = live_.count = 0;
    const bool wanted = b_.scores.policy->transform.derivative || b_.request.take;
    return {S_, &live_, nullptr, wanted ? scratch_ + at_.raw : nullptr};
  }
  void before_packing(const args&, key_tile<T, Additive>& k, const T*) {
    finish_keys();
    pending_ = k.keys;
    b_.values.read->pack(b_.values, k.keys, tile_rows, scratch_ + at_.value_panels);
    const index count = round_up(k.keys.count(), tile_rows) * b_.values.cols;
    careful_ =
        !finite_ || !all_finite(scratch_ + at_.value_panels, count) ||
        !all_within(row_block<T>{scratch_ + at_.value_panels, count, 1}, 1, count, most_factor<T>);
    for (index p = 0; p * tile_rows < k.keys.count(); ++p) seen_[p] = {};
  }
  void take(const args& a, query_tile<T>& q, key_tile<T, Additive>& k) {
    if (live_.rows == 0) return;
    careful_ = careful_ || !k.finite;
    weigh(a, q, k);
    if constexpr (!Additive) add_keys(a, q, k);
  }
  void flush(const args&, key_tile<T, Additive>&) {
    finish_keys();
    if constexpr (Additive) slopes_.add_queries(queries_);
  }
  void finish(const args&, query_tile<T>& q) {
    if constexpr (!Additive) finish_queries(q);
  }

 private:
  [[nodiscard]] index lane_of(const query_tile<T>& q) const { return q.first - queries_.begin; }

  /// dQᵀ += Kᵀ dSᵀ
  void add_keys(const args& a, query_tile<T>& q, key_tile<T, Additive>& k) {
    scored_tile<T> tile;
    tile.queries = &q;
    tile.S = scratch_ + at_.products;
    tile.live = live_;
    tile.values = k.values;
    if (careful_)
      add_careful_products(a, q, k.values, live_, tile.S, scratch_ + at_.ones);
    else
      add_products(a, tile, k, scratch_ + at_.ones);
    q.started = true;
  }
  /// dQ += scale·dS K
  void finish_queries(query_tile<T>& q) {
    if (!q.started) return;
    const index width = q.vectors * lanes<T>, d = b_.dQ.cols;
    T* const rows = scratch_ + at_.rows;
    for (index x = 0; x < width; x += lanes<T>) store(q.sum + x, broadcast(b_.scale));
    unpack_panel(q.output, width, rows, q.used, d, d, index(1), q.sum);
    add_to_rows(b_.dQ, {q.first, q.first + q.used}, rows);
  }

  /// dPᵀ of the live keys, the exponentials beside it.
  void multiply_values(const query_tile<T>& q, key_tile<T, Additive>& k, softmax_step<T>& step) {
    const index width = q.vectors * lanes<T>, e = b_.values.cols, lane = lane_of(q);
    T* const outputs = scratch_ + at_.outputs + lane * e;
    if (!packed_[lane / lanes<T>]) {
      packed_[lane / lanes<T>] = true;
      pack_panel(row_of(b_.dO, q.first), q.used, e, b_.dO.row_stride, b_.dO.col_stride, width, T(1),
                 outputs);
    }
    T* dP = scratch_ + at_.products;
    for (const product_run* run = live_.runs; run < live_.runs + live_.count; ++run) {
      const T* panels = scratch_ + at_.value_panels + run->row * e;
      if (run->to - run->from == tile_vectors && e > 0) {
        product_beside<T, tile_rows, tile_vectors, softmax_step<T>>(
            panels, outputs, dP, ceil_div(run->steps, index(tile_rows)), e,
            static_cast<T*>(nullptr), &step, k.next_values);
      } else {
        const product_run all{0, e, run->from, run->to};
        for (index r = 0; r < run->steps; r += tile_rows)
          product_of_some(q, {panels + r * e, tile_rows}, outputs, dP + r * width, &all, e > 0,
                          finish::store, static_cast<const T*>(nullptr));
      }
      dP += run->steps * width;
    }
  }

  /// P and dS of a register tile, from its scores.
  void weigh(const args& a, query_tile<T>& q, key_tile<T, Additive>& k) {
    const index width = q.vectors * lanes<T>, lane = lane_of(q);
    if (careful_) {
      // What is forbidden is known from the scores, which the exponentials replace.
      __builtin_memcpy(scratch_ + at_.kept, S_, std::size_t(live_.rows * width) * sizeof(T));
    }
    softmax_step<T> step;
    step.scores = S_;
    step.rows_left = live_.rows;
    step.vectors = q.vectors;
    for (index x = 0; x < width; x += lanes<T>) {
      // L of huge scores may be rounded below them, but no weight is larger than 1.
      vec<T> top = load(scratch_ + at_.logs + lane + x);
      raise_to_maximum<T>(S_ + x, live_.rows, width, top);
      store(step.safe + x, top);
      store(step.added + x, vec<T>{});
    }
    multiply_values(q, k, step);
    exponentiate_rest(step);
    if (careful_) mark_forbidden(scratch_ + at_.kept, width);
    T* const kept = a.policy->weight ? scratch_ + at_.kept : S_;
    if (a.policy->weight) {
      __builtin_memcpy(kept, S_, std::size_t(live_.rows * width) * sizeof(T));
      edit_weights(a, q, live_, k.keys.begin, kept);
    }
    differentiate(q, kept, width);
    if (b_.request.take) hand_over(q, k, width);
    if (a.policy->transform.derivative) multiply_slopes(a, q, k, width);
    keep(q, kept, width);
  }

  /// P = −0 where S is −∞.
  SOFTLOOK_SMALL void mark_forbidden(const T* S, index width) {
    for (index x = 0; x < live_.rows * width; x += lanes<T>)
      store(S_ + x,
            select<T>(load(S + x) == broadcast(-infinity<T>), broadcast(no_pair<T>), load(S_ + x)));
  }

  /// dS = P̃ ∘ dP − P ∘ D, in the place of dP; P̃ are the weights behind dropout.
  void differentiate(const query_tile<T>& q, const T* kept, index width) {
    const T* const dots = scratch_ + at_.dots + lane_of(q);
    T* const dS = scratch_ + at_.products;
    using bits = typename simd<T>::bits;
    for (index x = 0; x < width; x += lanes<T>) {
      const vec<T> dot = load(dots + x);
      if (kept == S_ && !careful_) {
        for (index r = x; r < live_.rows * width; r += width)
          store(dS + r, load(S_ + r) * (load(dS + r) - dot));
        continue;
      }
      for (index r = x; r < live_.rows * width; r += width) {
        const vec<T> p = load(S_ + r), without = kept == S_ ? load(dS + r) - dot : load(dS + r);
        vec<T> g = load(kept + r) * without;
        if (kept != S_) {
          // A dropped pair asks for no value, which may not be finite.
          g = select<T>((bits)load(kept + r) == (bits)broadcast(no_pair<T>), vec<T>{}, g);
          g = g - p * dot;
        }
        store(dS + r, careful_ ? select<T>((bits)p == (bits)broadcast(no_pair<T>),
                                           broadcast(no_pair<T>), g + vec<T>{})
                               : g);
      }
    }
  }

  SOFTLOOK_SMALL void hand_over(const query_tile<T>& q, const key_tile<T, Additive>& k,
                                index width) {
    const T* dS = scratch_ + at_.products;
    T* S = scratch_ + at_.raw;
    const vec<T> unit = broadcast(b_.raw_unit);
    if (b_.raw_unit != 1)
      for (index x = 0; x < live_.rows * width; x += lanes<T>) store(S + x, load(S + x) * unit);
    for (const product_run* run = live_.runs; run < live_.runs + live_.count; ++run) {
      b_.request.take(b_.request.self, {{dS, q.used, run->steps, 1, width},
                                        {S, q.used, run->steps, 1, width},
                                        q.first,
                                        k.keys.begin + run->row});
      dS += run->steps * width;
      S += run->steps * width;
    }
  }

  /// dS = dS ∘ f'(S); private keys have no transform.
  void multiply_slopes(const args& a, const query_tile<T>& q, const key_tile<T, Additive>& k,
                       index width) {
    T* S = scratch_ + at_.raw;
    T* dS = scratch_ + at_.products;
    const index shared = a.frame->shared_keys(a.keys.rows) - k.keys.begin;
    for (const product_run* run = live_.runs; run < live_.runs + live_.count; ++run) {
      const index left = shared - run->row;
      const index count = left < 0 ? 0 : left < run->steps ? left : run->steps;
      const edit_block block{width,
                             std::int32_t(count),
                             q.vectors,
                             std::int32_t(a.frame->key(k.keys.begin + run->row)),
                             q.positions,
                             {},
                             std::int32_t(a.frame->key_stride)};
      if (count > 0)
        a.policy->transform.derivative(a.policy->transform.transform, S, block, a.whole, T(1));
      for (index x = 0; x < count * width; x += lanes<T>) {
        const vec<T> g = load(dS + x);
        // What is forbidden stays so, and where P is 0 a slope that is not finite changes nothing.
        store(dS + x, select<T>(g == vec<T>{}, g, g * load(S + x) + vec<T>{}));
      }
      S += run->steps * width;
      dS += run->steps * width;
    }
  }

  /// P̃ and dS to the other register tiles of queries, for the sums over them.
  void keep(const query_tile<T>& q, const T* kept, index width) {
    const T* P = kept;
    const T* dS = scratch_ + at_.products;
    const index lane = lane_of(q), stride = at_.lanes;
    for (const product_run* run = live_.runs; run < live_.runs + live_.count; ++run) {
      T* to_P = scratch_ + at_.weights + run->row * stride + lane;
      T* to_dS = scratch_ + at_.score_gradients + run->row * stride + lane;
      cover(run->row, run->steps, lane, width);
      if (run->from == 0 && run->to == q.vectors) {
        for (index r = 0; r < run->steps; ++r, P += width, dS += width) {
          for (index x = 0; x < width; x += lanes<T>) {
            store(to_P + x, load(P + x));
            store(to_dS + x, load(dS + x));
          }
          to_P += stride;
          to_dS += stride;
        }
        continue;
      }
      for (index r = 0; r < run->steps; ++r, P += width, dS += width) {
        for (index x = 0; x < width; x += lanes<T>) {
          const index v = x / lanes<T>;
          const bool used = v >= run->from && v < run->to;
          store(to_P + x, used ? load(P + x) : broadcast(no_pair<T>));
          store(to_dS + x, used ? load(dS + x) : broadcast(no_pair<T>));
        }
        to_P += stride;
        to_dS += stride;
      }
    }
  }

  /// Queries from `lane` on have P and dS for these rows of keys; those between them and the ones
  /// before have none, nor has the rest of a panel.
  void cover(index row, index steps, index lane, index width) {
    for (index r = row; r < row + steps; r += tile_rows) {
      range& seen = seen_[r / tile_rows];
      if (seen.empty()) seen = {lane, lane};
      if (seen.end < lane) forbid({r, r + tile_rows}, {seen.end, lane});
      seen.end = lane + width;
    }
    forbid({row + steps, round_up(row + steps, tile_rows)}, {lane, lane + width});
  }
  void forbid(range keys, range queries) {
    for (index k = keys.begin; k < keys.end; ++k)
      for (index l = queries.begin; l < queries.end; l += lanes<T>) {
        store(scratch_ + at_.weights + k * at_.lanes + l, broadcast(no_pair<T>));
        store(scratch_ + at_.score_gradients + k * at_.lanes + l, broadcast(no_pair<T>));
      }
  }

  /// dV and dK of the keys whose queries are all done.
  void finish_keys() {
    if (pending_.empty()) return;
    add_key_sums(b_.dV, scratch_ + at_.weights, scratch_ + at_.output_rows, b_.dO, T(1));
    if constexpr (Additive) {
      slopes_.add_keys(pending_, seen_, careful_);
    } else {
      add_key_sums(b_.dK, scratch_ + at_.score_gradients, scratch_ + at_.query_rows, b_.scores.Q,
                   b_.scale);
    }
    pending_ = {};
  }

  /// Y += X·B for the rows of the keys: B are the rows of the block, in panels and as they lie.
  void add_key_sums(const mutable_matrix_view<T>& Y, const T* X, const T* panels,
                    const matrix_view<T>& B, T scale) {
    product_args<T> p;
    const index count = pending_.count();
    p.X = {X, count, queries_.count(), at_.lanes, 1};
    p.Y = Y.rows_from(pending_.begin, count);
    p.residual = {p.Y.data, p.Y.rows, p.Y.cols, p.Y.row_stride, p.Y.col_stride};
    if (careful_) return add_careful_sums(p, B, scale);
    each_panel<T>(Y.cols, [&](index column, index, index width) SOFTLOOK_STAMP_LAMBDA {
      const T* const panel = panels + column * p.X.cols;
      for (index i = 0; i < count; i += tile_rows) {
        const range seen = intersection(seen_[i / tile_rows], {0, p.X.cols});
        if (seen.empty()) continue;
        if (width == 3 * lanes<T>)
          add_key_tile<3>(p, i, column, seen, panel);
        else if (width == 2 * lanes<T>)
          add_key_tile<2>(p, i, column, seen, panel);
        else
          add_key_tile<1>(p, i, column, seen, panel);
      }
    });
  }

  template <int Vectors>
  void add_key_tile(const product_args<T>& p, index i, index column, range seen, const T* panel) {
    constexpr index width = Vectors * lanes<T>;
    const index used = p.X.rows - i < tile_rows ? p.X.rows - i : tile_rows;
    const T* const from = panel + seen.begin * width;
    key_rows<T> x{rows_of_X<T, tile_rows, 0>(p, i, used, seen.begin)};
    x.ahead = 0;
    const bool whole = used == tile_rows && p.Y.cols - column >= width && p.Y.col_stride == 1;
    if (whole)
      return add_product_rows<T, Vectors>(x, from, &p.Y(i, column), p.Y.row_stride, seen.count());
    alignas(64) T tile[tile_rows * width]{};
    add_product_rows<T, Vectors>(x, from, tile, width, seen.count());
    if (p.Y.col_stride != 1) return finish_tile(p, i, used, column, tile, width);
    const index cols = p.Y.cols - column < width ? p.Y.cols - column : width;
    for (index r = 0; r < used; ++r) add_to_row(&p.Y(i + r, column), tile + r * width, cols);
  }

  /// The same where a number is not finite: pair after pair.
  SOFTLOOK_SMALL void add_careful_sums(const product_args<T>& p, const matrix_view<T>& B, T scale) {
    for (index j = 0; j < p.X.rows; ++j) {
      const range seen = intersection(seen_[j / tile_rows], {0, p.X.cols});
      for (index i = seen.begin; i < seen.end; ++i) {
        const T x = p.X.data[j * p.X.row_stride + i];
        if (x == 0 && __builtin_signbit(x)) continue;
        for (index c = 0; c < p.Y.cols; ++c) p.Y(j, c) += x * (B(queries_.begin + i, c) * scale);
      }
    }
  }

  const backward_args<T, Additive>& b_;
  const backward_layout& at_;
  range queries_;
  T* scratch_;
  T* S_;
  bool finite_ = true;
  bool careful_ = false;
  range pending_{};
  live_keys live_;
  range seen_[max_key_tile / tile_rows]{};  // lanes that have P and dS, for each panel of keys
  bool packed_[max_query_tiles * tile_vectors]{};
  std::conditional_t<Additive, additive_slopes<T>, no_slopes<T>> slopes_;
};

template <class T, bool Additive>
void tiled_backward(const backward_args<T, Additive>& b, range queries, T* scratch) {
  backward_end<T, Additive> end(b, queries, scratch);
  walk_tiles(b.scores, queries, scratch, end);
}
