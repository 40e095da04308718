// The recurrent loop, a chunk of tokens at once: see recurrent.inl.

/// A chunk: tokens [first, first + count) of the views, and where its matrices lie.
template <class T>
struct chunk_view {
  const recurrent_args<T>& a;
  T* scratch;
  index first;
  index count;

  [[nodiscard]] index depth() const { return a.shape.rows(); }
  [[nodiscard]] index line() const { return depth() + recurrent_chunk; }
  [[nodiscard]] T* at(index offset) const { return scratch + offset; }
  /// S above, U below.
  [[nodiscard]] T* panel(index column) const { return at(a.layout.panels) + column * line(); }
  [[nodiscard]] T* values(index column, index width) const {
    return panel(column) + depth() * width;
  }
  [[nodiscard]] T* pairs(index t) const { return at(a.layout.pairs) + t * recurrent_chunk; }
  [[nodiscard]] bool gated() const { return a.gate.data != nullptr; }
};

/// D(t, s) = Π a over (s, t] by repeated multiplication, so that a decay of 0 needs no care, and
/// the products since the beginning of the chunk.
template <class T>
inline void load_decays(const chunk_view<T>& k) {
  const recurrent_args<T>& a = k.a;
  T* decay = k.at(a.layout.decays);
  T* since = k.at(a.layout.since);
  for (index t = 0; t < recurrent_chunk; ++t) decay[t] = a.log_gate ? T(0) : T(1);
  copy_rows(a.gate, k.first, k.count, decay, index(1));
  if (a.log_gate) exp_in_place(decay, recurrent_chunk);
  const T* positions = k.at(a.layout.positions);
  T product = 1;
  for (index t = 0; t < recurrent_chunk; ++t) {
    product *= decay[t];
    since[t] = product;
    for (index s = 0; s < recurrent_chunk; s += lanes<T>) {
      const vec<T> old = t > 0 ? load(k.pairs(t - 1) + s) * broadcast(decay[t]) : vec<T>{};
      const auto self = load(positions + s) == broadcast(T(t));
      store(k.pairs(t) + s, select<T>(self, broadcast(T(1)), old));
    }
  }
}

/// Scores of a block of rows with the vectors of keys from `lane`, decayed; later keys are chosen
/// away, not multiplied by 0: they may be NaN.
template <class T, int Vectors>
inline void score_block(const chunk_view<T>& k, T* rows, index t0, index lane) {
  constexpr int width = Vectors * lanes<T>;
  alignas(64) T tile[tile_rows * width];
  T* row = rows + t0 * k.line();
  micro_kernel<T, tile_rows, Vectors, finish::store>(
      row_operand<T, tile_rows>(row, k.line(), recurrent_chunk), k.at(k.a.layout.transposed) + lane,
      tile, k.depth(), nullptr);
  const T* positions = k.at(k.a.layout.positions) + lane;
  row += k.depth() + lane;
  for (index r = 0; r < tile_rows; ++r, row += k.line()) {
    const vec<T> end = broadcast(T(t0 + r + 1));
#pragma GCC unroll 4
    for (int v = 0; v < width; v += lanes<T>) {
      vec<T> p = load(tile + r * width + v);
      if (k.gated()) p = p * load(k.pairs(t0 + r) + lane + v);
      store(row + v, select<T>(load(positions + v) < end, p, vec<T>{}));
    }
  }
}

template <class T>
inline void chunk_scores(const chunk_view<T>& k, T* rows) {
  for (index t0 = 0; t0 < k.count; t0 += tile_rows) {
    const index seen = round_up(t0 + tile_rows, lanes<T>);
    for (index lane = 0; lane < seen;) {
      const int vectors = next_vectors<T>(seen - lane);
      if (vectors == 3)
        score_block<T, 3>(k, rows, t0, lane);
      else if (vectors == 2)
        score_block<T, 2>(k, rows, t0, lane);
      else
        score_block<T, 1>(k, rows, t0, lane);
      lane += vectors * lanes<T>;
    }
    for (index r = t0; r < t0 + tile_rows; ++r)
      for (index s = seen; s < recurrent_chunk; s += lanes<T>)
        store(rows + r * k.line() + k.depth() + s, vec<T>{});
  }
}

template <class T>
inline void scale_rows(T* rows, index stride, index count, index width, const T* factors) {
  for (index r = 0; r < count; ++r)
    for (index c = 0; c < width; c += lanes<T>)
      store(rows + r * stride + c, load(rows + r * stride + c) * broadcast(factors[r]));
}

/// Rows of the chunk, mapped; zeros behind the last.
template <class T>
inline void load_chunk_rows(const chunk_view<T>& k, const matrix_view<T>& X, T scale, T* rows,
                            index stride) {
  load_rows(k.a, X, k.first, k.count, scale, rows, stride);
  for (T* zero = rows + k.count * stride; zero < rows + recurrent_chunk * stride; ++zero) *zero = 0;
}

template <class T>
struct values_phase {
  const chunk_view<T>& k;

  /// U = V; or by the delta rule, a block of tokens at a time: what the state and earlier blocks
  /// predict is a product, inside a block tokens follow one another.
  template <int Vectors>
  void panel(index column) const {
    constexpr int width = Vectors * lanes<T>;
    const recurrent_args<T>& a = k.a;
    T* U = k.values(column, width);
    const index used = a.V.cols - column < width ? a.V.cols - column : width;
    if (used == width && a.V.col_stride == 1) {
      const T* from = &a.V(k.first, column);
      for (index t = 0; t < k.count; ++t, from += a.V.row_stride) {
        if (k.first + t + recurrent_chunk < a.V.rows)
          prefetch_row(from + recurrent_chunk * a.V.row_stride, index(width));
#pragma GCC unroll 4
        for (int c = 0; c < width; c += lanes<T>) store(U + t * width + c, load(from + c));
      }
    } else {
      copy_rows(a.V.columns(column, used), k.first, k.count, U, index(width));
      for (index t = 0; t < k.count; ++t)
        for (index c = used; c < width; ++c) U[t * width + c] = 0;
    }
    for (T* zero = U + k.count * width; zero < U + recurrent_chunk * width; ++zero) *zero = 0;
    if (a.strength.data) solve<Vectors>(column, U);
    set_poison_aside<Vectors>(column, U);
  }

 private:
  template <int Vectors>
  void solve(index column, T* U) const {
    constexpr int width = Vectors * lanes<T>;
    alignas(64) T tile[tile_rows * width];
    const T* strength = k.at(k.a.layout.strengths);
    for (index t0 = 0; t0 < k.count; t0 += tile_rows) {
      const T* rows = k.at(k.a.layout.solve_rows) + t0 * k.line();
      micro_kernel<T, tile_rows, Vectors, finish::store>(
          row_operand<T, tile_rows>(rows, k.line(), width), k.panel(column), tile, k.depth() + t0,
          nullptr);
      const index end = t0 + tile_rows < k.count ? t0 + tile_rows : k.count;
      for (index t = t0; t < end; ++t) {
        const T* overlap = rows + (t - t0) * k.line() + k.depth();
        vec<T> u[Vectors];
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v)
          u[v] = load(U + t * width + v * lanes<T>) - load(tile + (t - t0) * width + v * lanes<T>);
        for (index s = t0; s < t; ++s)
#pragma GCC unroll 4
          for (int v = 0; v < Vectors; ++v)
            u[v] = negative_fma(broadcast(overlap[s]), load(U + s * width + v * lanes<T>), u[v]);
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v)
          store(U + t * width + v * lanes<T>, broadcast(strength[t]) * u[v]);
      }
    }
  }

  /// A value that is not finite must not meet the zeros of earlier rows' scores: it is kept
  /// elsewhere, and joins one row at a time. No other column learns of it.
  template <int Vectors>
  void set_poison_aside(index column, T* U) const {
    constexpr index width = Vectors * lanes<T>;
    T& poisoned = k.at(k.a.layout.poisoned)[column];
    poisoned = T(0);
    if (all_finite(U, recurrent_chunk * width)) return;
    poisoned = T(1);
    T* aside = k.at(k.a.layout.poison) + column * recurrent_chunk;
    for (index t = 0; t < recurrent_chunk; ++t, aside += width, U += width) {
      for (index c = 0; c < width; ++c) {
        const bool finite = U[c] - U[c] == T(0);
        aside[c] = finite ? T(0) : U[c];
        if (!finite) U[c] = 0;
      }
    }
  }
};

/// C(row) += weights(s)·(row s of what was set aside) for the poisoned rows below `end`.
template <class T, int Vectors>
inline void add_poison(const chunk_view<T>& k, index column, index end, const T* weights,
                       index step, T* C) {
  constexpr index width = Vectors * lanes<T>;
  T* aside = k.at(k.a.layout.poison) + column * recurrent_chunk;
  for (index s = 0; s < end; ++s, aside += width) {
    if (all_finite(aside, width)) continue;
    for (index c = 0; c < width; c += lanes<T>) {
      const vec<T> old = load(C + c), given = load(aside + c);
      store(C + c,
            select<T>(given == vec<T>{}, old, fma(broadcast(weights[s * step]), given, old)));
    }
  }
}

/// O of one query head.
template <class T>
struct output_phase {
  const chunk_view<T>& k;
  index head;

  template <int Vectors>
  void panel(index column) const {
    constexpr int width = Vectors * lanes<T>;
    alignas(64) T tile[tile_rows * width];
    const recurrent_args<T>& a = k.a;
    const bool updates_state = a.updates_state;
    const bool poisoned = updates_state && k.at(a.layout.poisoned)[column] != T(0);
    const T* factors = k.at(a.layout.factors);
    const index values = a.shape.values;
    const index used = values - column < width ? values - column : width;
    for (index t0 = 0; t0 < k.count; t0 += tile_rows) {
      const T* rows = k.at(a.layout.rows) + t0 * k.line();
      micro_kernel<T, tile_rows, Vectors, finish::store>(
          row_operand<T, tile_rows>(rows, k.line(), width), k.panel(column), tile,
          updates_state ? k.depth() + t0 + tile_rows : k.depth(), nullptr);
      const index end = t0 + tile_rows < k.count ? t0 + tile_rows : k.count;
      for (index t = t0; t < end; ++t) {
        T* out = tile + (t - t0) * width;
        if (poisoned)
          add_poison<T, Vectors>(k, column, t + 1, rows + (t - t0) * k.line() + k.depth(), index(1),
                                 out);
        T* to = &a.O(k.first + t, head * a.heads_apart + column);
        const bool direct = used == width && a.O.col_stride == 1;
        if (direct && k.first + t + recurrent_chunk < a.O.rows)
          for (int c = 0; c < width; c += 64 / int(sizeof(T)))
            __builtin_prefetch(to + recurrent_chunk * a.O.row_stride + c, 1, 2);
#pragma GCC unroll 4
        for (int c = 0; c < width; c += lanes<T>)
          store((direct ? to : out) + c, load(out + c) * broadcast(factors[t]));
        if (!direct) copy_line(out, index(1), to, a.O.col_stride, used);
      }
    }
  }
};

/// S ← D·S + (K ∘ D(last, ·))ᵀ·U.
template <class T>
struct state_phase {
  const chunk_view<T>& k;

  template <int Vectors>
  void panel(index column) const {
    constexpr int width = Vectors * lanes<T>;
    const recurrent_args<T>& a = k.a;
    const T* keys = k.at(a.layout.keys);
    const T* U = k.values(column, width);
    alignas(64) T decay[width];
    for (int c = 0; c < width; ++c) decay[c] = k.gated() ? k.at(a.layout.since)[k.count - 1] : T(1);
    for (index f = 0; f < k.depth(); f += tile_rows) {
      T* S = k.panel(column) + f * width;
      const panel_operand<T, tile_rows> columns{keys + f, k.depth()};
      if (k.gated())
        micro_kernel<T, tile_rows, Vectors, finish::rescale>(columns, U, S, k.count, decay);
      else
        micro_kernel<T, tile_rows, Vectors, finish::add>(columns, U, S, k.count, nullptr);
    }
    if (k.at(a.layout.poisoned)[column] != T(0))
      for (index f = 0; f < a.shape.features; ++f)
        add_poison<T, Vectors>(k, column, k.count, keys + f, k.depth(),
                               k.panel(column) + f * width);
  }
};

/// Keys, decays and values of a chunk.
template <class T>
inline void load_chunk(const chunk_view<T>& k) {
  const recurrent_args<T>& a = k.a;
  T* keys = k.at(a.layout.keys);
  load_chunk_rows(k, a.K, T(1), keys, k.depth());
  if (k.gated()) load_decays(k);
  if (a.writes_output || a.strength.data)
    pack_panel(keys, k.count, k.depth(), k.depth(), index(1), recurrent_chunk, T(1),
               k.at(a.layout.transposed));
  if (a.strength.data) {
    T* rows = k.at(a.layout.solve_rows);
    copy_rows(a.strength, k.first, k.count, k.at(a.layout.strengths), index(1));
    load_chunk_rows(k, a.K, T(1), rows, k.line());
    chunk_scores(k, rows);
    if (k.gated()) scale_rows(rows, k.line(), k.count, k.depth(), k.at(a.layout.since));
  }
  over_panels<T>(a.shape.values, values_phase<T>{k});
}

/// What each output row is multiplied with: [since ∘ q | P] times [z | 1] is its divisor.
template <class T>
inline void load_factors(const chunk_view<T>& k, const T* rows) {
  const recurrent_args<T>& a = k.a;
  T* factors = k.at(a.layout.factors);
  const bool updates_state = a.updates_state;
  if (a.divisor != divisor_kind::one) {
    T* sums = k.at(a.layout.sums);
    __builtin_memcpy(sums, a.state + a.shape.key_sum(), std::size_t(k.depth()) * sizeof(T));
    for (index s = 0; s < recurrent_chunk; ++s) sums[k.depth() + s] = 1;
    for (index t = 0; t < k.count; t += lanes<T>)
      dot_keys(sums, rows + t * k.line(), k.line(), updates_state ? k.line() : k.depth(),
               factors + t);
  }
  T decay_sum = a.state[a.shape.decay_sum()];
  for (index t = 0; t < k.count; ++t) {
    if (updates_state)
      decay_sum = next_decay_sum(k.gated() ? k.at(a.layout.decays)[t] : T(1), decay_sum);
    factors[t] = output_factor(a.divisor, factors[t], a.epsilon, decay_sum);
  }
}

template <class T>
inline void chunk_outputs(const chunk_view<T>& k, index head) {
  const recurrent_args<T>& a = k.a;
  const index features = a.Q.cols / a.group;
  T* rows = k.at(a.layout.rows);
  load_chunk_rows(k, a.Q.columns(head * features, features), a.scale, rows, k.line());
  if (a.updates_state) {
    chunk_scores(k, rows);
    if (k.gated()) scale_rows(rows, k.line(), k.count, k.depth(), k.at(a.layout.since));
  }
  load_factors(k, rows);
  over_panels<T>(a.shape.values, output_phase<T>{k, head});
}

/// The chunk joins the state.
template <class T>
inline void absorb_chunk(const chunk_view<T>& k) {
  const recurrent_args<T>& a = k.a;
  T* keys = k.at(a.layout.keys);
  if (k.gated()) scale_rows(keys, k.depth(), k.count, k.depth(), k.pairs(k.count - 1));
  T* z = a.state + a.shape.key_sum();
  const vec<T> decay = broadcast(k.gated() ? k.at(a.layout.since)[k.count - 1] : T(1));
  for (index f = 0; f < k.depth(); f += lanes<T>) {
    vec<T> sum = {};
    for (index t = 0; t < k.count; ++t) sum = sum + load(keys + t * k.depth() + f);
    store(z + f, fma(load(z + f), decay, sum));
  }
  T& decay_sum = a.state[a.shape.decay_sum()];
  for (index t = 0; t < k.count; ++t)
    decay_sum = next_decay_sum(k.gated() ? k.at(a.layout.decays)[t] : T(1), decay_sum);
  over_panels<T>(a.shape.values, state_phase<T>{k});
}

template <class T>
void recurrent_chunks(const recurrent_args<T>& a, T* scratch) {
  const index tokens = a.updates_state ? a.K.rows : a.Q.rows;
  for (index t = 0; t < recurrent_chunk; ++t) scratch[a.layout.positions + t] = T(t);
  for (index first = 0; first < tokens; first += recurrent_chunk) {
    const index left = tokens - first;
    const chunk_view<T> k{a, scratch, first, left < recurrent_chunk ? left : recurrent_chunk};
    if (a.updates_state) load_chunk(k);
    for (index head = 0; a.writes_output && head < a.group; ++head) chunk_outputs(k, head);
    if (a.updates_state) absorb_chunk(k);
  }
}

/// The state between its own layout and panels.
template <class T, bool Load>
struct exchange_phase {
  const chunk_view<T>& k;

  template <int Vectors>
  void panel(index column) const {
    constexpr int width = Vectors * lanes<T>;
    for (index f = 0; f < k.depth(); ++f) {
      T* outside = k.a.state + f * k.a.shape.stride() + column;
      T* inside = k.panel(column) + f * width;
      __builtin_memcpy(Load ? inside : outside, Load ? outside : inside, width * sizeof(T));
    }
  }
};

template <class T, bool Load>
void exchange_state(const recurrent_args<T>& a, T* scratch) {
  const chunk_view<T> k{a, scratch, 0, 0};
  over_panels<T>(a.shape.values, exchange_phase<T, Load>{k});
}
