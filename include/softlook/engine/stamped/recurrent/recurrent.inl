// The recurrent loop of linear attention and fast weights. For every token t of a head
//   S ← diag(a)·S,  u = v, or β·(v − Sᵀk) by the delta rule,  S ← S + k·uᵀ,  o = Sᵀq / divisor,
// either token by token, or a chunk of tokens at once: with the decay a a number,
//   D(t, s) = Π a over (s, t],  P = (Q·Kᵀ) ∘ D for s ≤ t,  O = (since ∘ Q)·S + P·U,
//   (I + B·tril(K·Kᵀ ∘ D, −1))·U = B·(V − (since ∘ K)·S)  [delta],  S ← D·S + (K ∘ D(last, ·))ᵀ·U.
// Values lie in lanes; S and U share panels, so that O is one product of [since ∘ Q | P].
//
// Traffic: Q, K, V are read and O is written once; S stays in the first-level cache (d·e scalars).
// Work of a token: 4·d·e for the state in any form, about chunk/2·2·(d + e) for pairs.

/// e^x over the whole range; what lies below the smallest normal number is 0.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> exp_of(vec<T> x) {
  const vec<T> limit = broadcast(T(sizeof(T) == 4 ? 87 : 708)), zero = {};
  const vec<T> inside = select<T>(x < limit, select<T>(x < -limit, -limit, x), limit);
  vec<T> e = exp_bounded<T>(inside);
  e = select<T>(x < -limit, zero, e);
  e = select<T>(x > limit, broadcast(infinity<T>), e);
  return select<T>(x == x, e, x);
}

/// elu(x) + 1 = x + 1 for x > 0, else e^x.
template <class T, feature_kind Kind>
SOFTLOOK_ALWAYS_INLINE vec<T> mapped(vec<T> x) {
  const vec<T> zero = {};
  if constexpr (Kind == feature_kind::relu) {
    return max_of(zero, x);
  } else if constexpr (Kind == feature_kind::elu_plus_one) {
    const vec<T> limit = broadcast(T(sizeof(T) == 4 ? -87 : -708));
    const vec<T> below = select<T>(x > zero, zero, x);
    vec<T> e = exp_bounded<T>(max_of(limit, below));
    e = select<T>(below < limit, zero, e);
    return select<T>(x > zero, x + broadcast(T(1)), e);
  } else {
    return x;
  }
}

/// factor·(e^{x − |x|²/2 − shift − largest of the row} + ε) in place.
template <class T>
void random_features(const random_feature_rows<T>& a) {
  const index padded = round_up(a.features, lanes<T>);
  for (index r = 0; r < a.rows; ++r) {
    T* row = a.data + r * a.stride;
    T shift = a.shift;
    if (a.half_norms) shift += a.half_norms[r];
    if (a.by_row && a.features > 0) {
      T largest = row[0];
      for (index c = 1; c < a.features; ++c) largest = row[c] > largest ? row[c] : largest;
      shift += largest;
    }
    for (index c = a.features; c < padded; ++c) row[c] = shift;
    for (index c = 0; c < padded; c += lanes<T>) {
      const vec<T> e = exp_of<T>(load(row + c) - broadcast(shift));
      store(row + c, (e + broadcast(a.epsilon)) * broadcast(a.factor));
    }
    for (index c = a.features; c < padded; ++c) row[c] = 0;
  }
}

template <class T>
inline void copy_rows(const matrix_view<T>& X, index first, index count, T* out, index stride) {
  if (X.cols == 0) return;
  const T* from = X.data + first * X.row_stride;
  if (X.col_stride != 1 && X.row_stride == 1)
    for (index c = 0; c < X.cols; ++c)
      copy_line(from + c * X.col_stride, index(1), out + c, stride, count);
  else
    for (index r = 0; r < count; ++r)
      copy_line(from + r * X.row_stride, X.col_stride, out + r * stride, index(1), X.cols);
}

/// Features of a row, scaled; whole vectors, zero beyond `features`. X may be the row itself.
template <class T, feature_kind Kind>
SOFTLOOK_ALWAYS_INLINE void map_row(const T* X, T scale, T* row, index features, index padded) {
  const index whole = features / lanes<T> * lanes<T>;
  const vec<T> factor = broadcast(scale);
  for (index c = 0; c < whole; c += lanes<T>) store(row + c, mapped<T, Kind>(load(X + c)) * factor);
  if (whole < features) {
    alignas(64) T rest[lanes<T>] = {};
    for (index c = whole; c < features; ++c) rest[c - whole] = X[c];
    store(rest, mapped<T, Kind>(load(rest)) * factor);
    for (index c = whole; c < features; ++c) row[c] = rest[c - whole];
  }
  for (index c = features; c < padded; ++c) row[c] = 0;
}

/// A row that the next chunk will read: a chunk's rows are too short a stream for the hardware to
/// foresee, and arrive while this one is computed.
template <class T>
SOFTLOOK_ALWAYS_INLINE void prefetch_row(const T* row, index count) {
  constexpr index line = 64 / index(sizeof(T));
  for (index c = 0; c < count; c += line) __builtin_prefetch(row + c, 0, 2);
}

template <class T, feature_kind Kind>
inline void map_rows(const matrix_view<T>& X, index first, index count, T scale, T* rows,
                     index stride, index features, index padded) {
  const T* from = X.cols > 0 ? X.data + first * X.row_stride : X.data;
  index step = X.row_stride;
  if (X.col_stride != 1) {
    copy_rows(X, first, count, rows, stride);
    from = rows;
    step = stride;
  }
  for (index r = 0; r < count; ++r) {
    if (X.col_stride == 1 && X.cols > 0 && first + r + recurrent_chunk < X.rows)
      prefetch_row(from + (r + recurrent_chunk) * step, X.cols);
    map_row<T, Kind>(from + r * step, scale, rows + r * stride, features, padded);
  }
}

/// Rows of X as the loop wants them.
template <class T>
inline void load_rows(const recurrent_args<T>& a, const matrix_view<T>& X, index first, index count,
                      T scale, T* rows, index stride) {
  const auto map = a.map == feature_kind::relu           ? &map_rows<T, feature_kind::relu>
                   : a.map == feature_kind::elu_plus_one ? &map_rows<T, feature_kind::elu_plus_one>
                                                         : &map_rows<T, feature_kind::as_given>;
  map(X, first, count, scale, rows, stride, a.shape.features, a.shape.rows());
}

/// e^x of whole vectors, in place: decays given as logarithms.
template <class T>
SOFTLOOK_ALWAYS_INLINE void exp_in_place(T* data, index count) {
  for (index c = 0; c < count; c += lanes<T>) store(data + c, exp_of<T>(load(data + c)));
}

/// What an output row is multiplied with, given x = φ(q)·z. A divisor of 0 belongs to a query that
/// meets no key: a row of zeros.
template <class T>
SOFTLOOK_ALWAYS_INLINE T output_factor(divisor_kind kind, T x, T epsilon, T decay_sum) {
  if (kind == divisor_kind::one) return T(1);
  T divisor = x + epsilon;
  if (kind == divisor_kind::retention) {
    const T root = sizeof(T) == 4 ? T(__builtin_sqrtf(float(decay_sum)))
                                  : T(__builtin_sqrt(double(decay_sum)));
    const T size = x < T(0) ? -x : x;
    divisor = size > root || size != size ? size : root;  // max(|x|/root, 1)·root
  }
  const bool empty = divisor == T(0);
  vec<T> hidden = broadcast(empty ? T(1) : divisor);
  SOFTLOOK_STAMP_OPAQUE(hidden);  // clang divides before it selects
  return empty ? T(0) : (broadcast(T(1)) / hidden)[0];
}

template <class T>
SOFTLOOK_ALWAYS_INLINE T next_decay_sum(T decay, T sum) {
  return fma(broadcast(decay), broadcast(sum), broadcast(T(1)))[0];
}

// One token at a time.

template <class T, int Vectors>
SOFTLOOK_ALWAYS_INLINE void read_columns(const T* S, index stride, index features, const T* weights,
                                         vec<T> (&sum)[Vectors]) {
  vec<T> odd[Vectors];
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) sum[v] = odd[v] = vec<T>{};
  for (index f = 0; f < features; f += 2, S += 2 * stride) {
    const vec<T> w0 = broadcast(weights[f]), w1 = broadcast(weights[f + 1]);
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      sum[v] = fma(w0, load(S + v * lanes<T>), sum[v]);
      odd[v] = fma(w1, load(S + stride + v * lanes<T>), odd[v]);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) sum[v] = sum[v] + odd[v];
}

template <class T, int Vectors, bool Gated>
SOFTLOOK_ALWAYS_INLINE void update_columns(T* S, index stride, index features, const T* decay,
                                           const T* key, const vec<T> (&u)[Vectors]) {
  for (index f = 0; f < features; ++f, S += stride) {
    const vec<T> k = broadcast(key[f]);
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      vec<T> s = load(S + v * lanes<T>);
      if constexpr (Gated) s = s * broadcast(decay[f]);
      store(S + v * lanes<T>, fma(k, u[v], s));
    }
  }
}

/// Update and output in one pass over the state.
template <class T, int Vectors, bool Gated>
SOFTLOOK_ALWAYS_INLINE void update_and_read(T* S, index stride, index features, const T* decay,
                                            const T* key, const T* query,
                                            const vec<T> (&u)[Vectors], vec<T> (&sum)[Vectors]) {
  vec<T> odd[Vectors];
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) sum[v] = odd[v] = vec<T>{};
  for (index f = 0; f < features; f += 2)
#pragma GCC unroll 4
    for (int half = 0; half < 2; ++half, S += stride) {
      const vec<T> k = broadcast(key[f + half]), q = broadcast(query[f + half]);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) {
        vec<T> s = load(S + v * lanes<T>);
        if constexpr (Gated) s = s * broadcast(decay[f + half]);
        s = fma(k, u[v], s);
        store(S + v * lanes<T>, s);
        vec<T>& o = half == 0 ? sum[v] : odd[v];
        o = fma(q, s, o);
      }
    }
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) sum[v] = sum[v] + odd[v];
}

/// A token's vectors, in whole vectors; `value` becomes the output.
template <class T>
struct token_rows {
  T *key, *query, *decay, *faded, *value;
};

template <class T, int Vectors, bool Gated>
inline void token_columns(const recurrent_args<T>& a, index t, const token_rows<T>& x,
                          index column) {
  const index stride = a.shape.stride(), features = a.shape.rows();
  T* S = a.state + column;
  T* value = x.value + column;
  vec<T> u[Vectors], sum[Vectors];
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) u[v] = load(value + v * lanes<T>);
  if (a.strength.data) {
    const vec<T> beta = broadcast(a.strength(t, 0));
    read_columns<T, Vectors>(S, stride, features, Gated ? x.faded : x.key, sum);
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) u[v] = beta * (u[v] - sum[v]);
  }
  if (!a.writes_output) {
    update_columns<T, Vectors, Gated>(S, stride, features, x.decay, x.key, u);
    return;
  }
  update_and_read<T, Vectors, Gated>(S, stride, features, x.decay, x.key, x.query, u, sum);
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) store(value + v * lanes<T>, sum[v]);
}

template <class T, int Vectors>
inline void reread_columns(const recurrent_args<T>& a, const token_rows<T>& x, index column) {
  vec<T> sum[Vectors];
  read_columns<T, Vectors>(a.state + column, a.shape.stride(), a.shape.rows(), x.query, sum);
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) store(x.value + column + v * lanes<T>, sum[v]);
}

/// Columns of the state in groups of at most four vectors: with them a panel of the state stays in
/// the first-level cache, and sums stay in registers.
template <class T, bool Gated>
inline void update_token(const recurrent_args<T>& a, index t, const token_rows<T>& x, bool again) {
  const index columns = round_up(a.shape.values, lanes<T>);
  for (index c = 0; c < columns; c += 4 * lanes<T>) {
    const index left = (columns - c) / lanes<T>;
    if (again)
      left >= 4   ? reread_columns<T, 4>(a, x, c)
      : left == 3 ? reread_columns<T, 3>(a, x, c)
      : left == 2 ? reread_columns<T, 2>(a, x, c)
                  : reread_columns<T, 1>(a, x, c);
    else
      left >= 4   ? token_columns<T, 4, Gated>(a, t, x, c)
      : left == 3 ? token_columns<T, 3, Gated>(a, t, x, c)
      : left == 2 ? token_columns<T, 2, Gated>(a, t, x, c)
                  : token_columns<T, 1, Gated>(a, t, x, c);
  }
}

/// Decays of a token for every feature, and the sum of decays of the state.
template <class T>
inline void load_decay(const recurrent_args<T>& a, index t, const token_rows<T>& x) {
  const index padded = a.shape.rows();
  T& sum = a.state[a.shape.decay_sum()];
  if (!a.gate.data) {
    sum = next_decay_sum(T(1), sum);
    return;
  }
  for (index f = 0; f < padded; ++f)
    x.decay[f] = f < a.gate.cols ? a.gate(t, f) : a.gate(t, a.gate.cols - 1);
  if (a.log_gate) exp_in_place(x.decay, padded);
  sum = next_decay_sum(x.decay[0], sum);
  for (index f = 0; f < padded; f += lanes<T>)
    store(x.faded + f, load(x.key + f) * load(x.decay + f));
}

template <class T>
inline T key_sum_times(const T* z, const T* row, index count) {
  vec<T> sum = {};
  for (index f = 0; f < count; f += lanes<T>) sum = fma(load(row + f), load(z + f), sum);
  return total<T>(sum);
}

template <class T>
inline void write_token(const recurrent_args<T>& a, index t, index head, const token_rows<T>& x) {
  const T* z = a.state + a.shape.key_sum();
  const T f = output_factor(a.divisor, key_sum_times(z, x.query, a.shape.rows()), a.epsilon,
                            a.state[a.shape.decay_sum()]);
  for (index c = 0; c < a.shape.stride(); c += lanes<T>)
    store(x.value + c, load(x.value + c) * broadcast(f));
  const index values = a.shape.values;
  if (values > 0)
    copy_line(x.value, index(1), &a.O(t, head * a.heads_apart), a.O.col_stride, values);
}

template <class T>
void recurrent_tokens(const recurrent_args<T>& a, T* scratch) {
  const index padded = a.shape.rows(), values = a.shape.values, features = a.Q.cols / a.group;
  const token_rows<T> x{scratch, scratch + padded, scratch + 2 * padded, scratch + 3 * padded,
                        scratch + 4 * padded};
  T* z = a.state + a.shape.key_sum();
  for (index t = 0; t < a.K.rows; ++t) {
    load_rows(a, a.K, t, index(1), T(1), x.key, index(0));
    load_decay(a, t, x);
    for (index f = 0; f < padded; f += lanes<T>) {
      const vec<T> old = a.gate.data ? load(z + f) * load(x.decay + f) : load(z + f);
      store(z + f, old + load(x.key + f));
    }
    copy_rows(a.V, t, index(1), x.value, index(0));
    for (index c = values; c < a.shape.stride(); ++c) x.value[c] = 0;
    for (index head = 0; head < a.group || head == 0; ++head) {
      if (a.writes_output)
        load_rows(a, a.Q.columns(head * features, features), t, index(1), a.scale, x.query,
                  index(0));
      if (a.gate.data)
        update_token<T, true>(a, t, x, head > 0);
      else
        update_token<T, false>(a, t, x, head > 0);
      if (!a.writes_output) break;
      write_token(a, t, head, x);
    }
  }
}
