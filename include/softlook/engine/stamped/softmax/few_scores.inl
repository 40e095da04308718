// Scores of a handful of queries, rows × keys: see few_queries.inl.

/// Sums of pairs of lanes of a and b, blocks of Block alternating: log2(lanes) steps over `lanes`
/// vectors leave one vector that holds the sum of each.
template <class T, int Block, int... L>
SOFTLOOK_ALWAYS_INLINE vec<T> fold_lanes(vec<T> a, vec<T> b, std::integer_sequence<int, L...>) {
  constexpr int n = lanes<T>;
  const vec<T> low = __builtin_shufflevector(
      a, b, ((L / Block % 2 == 0 ? 0 : n) + L / (2 * Block) * (2 * Block) + L % Block)...);
  const vec<T> high = __builtin_shufflevector(
      a, b, ((L / Block % 2 == 0 ? 0 : n) + L / (2 * Block) * (2 * Block) + L % Block + Block)...);
  return low + high;
}

template <class T, int Block>
SOFTLOOK_ALWAYS_INLINE vec<T> sum_each(vec<T> (&x)[lanes<T>]) {
  constexpr int n = lanes<T>;
#pragma GCC unroll 16
  for (int k = 0; k < n / Block; k += 2)
    x[k / 2] = fold_lanes<T, Block>(x[k], x[k + 1], std::make_integer_sequence<int, n>{});
  if constexpr (2 * Block < n)
    return sum_each<T, 2 * Block>(x);
  else
    return x[0];
}

/// scores[k] = q · key k, for as many keys as a vector has lanes. `features` counts whole vectors.
/// While one group of keys is read the next is prefetched: as many rows at a time are more streams
/// than the processor follows by itself.
template <class T>
__attribute__((noinline)) inline void dot_keys(const T* q, const T* keys, index key_stride,
                                               index features, T* scores) {
  constexpr int n = lanes<T>;
  vec<T> sum[n];
#pragma GCC unroll 16
  for (int k = 0; k < n; ++k) sum[k] = vec<T>{};
#pragma GCC unroll 1
  for (index c = 0; c < features; c += n) {
    const vec<T> x = load(q + c);
    // A line is asked for once.
    if (vector_bytes < 64 && c * index(sizeof(T)) % 64 == 0)
#pragma GCC unroll 16
      for (int k = 0; k < n; ++k) prefetch(keys + k * key_stride + c, n * key_stride);
#pragma GCC unroll 16
    for (int k = 0; k < n; ++k) {
      if constexpr (vector_bytes == 64) prefetch(keys + k * key_stride + c, n * key_stride);
      sum[k] = fma(x, load(keys + k * key_stride + c), sum[k]);
    }
  }
  store(scores, sum_each<T, 1>(sum));
}

/// The same for fewer keys than a vector has lanes.
template <class T>
__attribute__((noinline)) inline void dot_rest(const T* q, const row_block<T>& keys, index count,
                                               index features, T* scores) {
  constexpr index n = lanes<T>;
  vec<T> sum[n];
#pragma GCC unroll 16
  for (index k = 0; k < n; ++k) sum[k] = vec<T>{};
  const T* key = keys.data;
  for (index k = 0; k < count; ++k, key += keys.stride) {
    vec<T> s = {};
    for (index c = 0; c < features; c += n) s = fma(load(q + c), load(key + c), s);
    sum[k] = s;
  }
  const vec<T> all = sum_each<T, 1>(sum);
  __builtin_memcpy(scores, &all, std::size_t(count) * sizeof(T));
}

/// The same for `count` keys of `Vectors` vectors, a multiple of the lanes, read one after the
/// other as they lie; sums are those of dot_keys(). Addresses of prefetches must not wait for
/// products: so a function of its own counts up the addresses of a long run of keys. Where they are
/// computed anew for each group, from memory or (gcc) from vector registers, they queue behind the
/// products of what was read before: a fifth of the bandwidth of a third-level cache.
template <class T, int Vectors>
__attribute__((noinline)) inline void dot_run(const T* q, const T* keys, index key_stride,
                                              index count, T* scores) {
  constexpr int n = lanes<T>, line = 64 / vector_bytes;
  vec<T> x[Vectors];
#pragma GCC unroll 16
  for (int v = 0; v < Vectors; ++v) x[v] = load(q + v * n);
  for (index j = 0; j < count; j += n) {
    vec<T> sum[n];
#pragma GCC unroll 1
    for (int k = 0; k < n; ++k, keys += key_stride) {
      vec<T> s = {};
#pragma GCC unroll 16
      for (int v = 0; v < Vectors; ++v) {
        if (v % line == 0) prefetch(keys + v * n, 8 * key_stride);
        s = fma(x[v], load(keys + v * n), s);
      }
      sum[k] = s;
    }
    store(scores + j, sum_each<T, 1>(sum));
  }
}

/// Scores of one row and whole groups of keys in one run, if there is a loop for their features.
template <class T>
inline bool few_dot_run(const T* q, const T* keys, index key_stride, index features, index count,
                        T* scores) {
  switch (features / lanes<T>) {
    case 8:
      dot_run<T, 8>(q, keys, key_stride, count, scores);
      return true;
    case 4:
      dot_run<T, 4>(q, keys, key_stride, count, scores);
      return true;
    case 16:
      if constexpr (vector_bytes == 32) {  // 128 floats or 64 doubles
        dot_run<T, 16>(q, keys, key_stride, count, scores);
        return true;
      }
      break;
    default:
      break;
  }
  return false;
}

/// Scores of all rows and whole groups of keys where they lie. Several rows read a few keys at a
/// time, which then stay in the first-level cache.
template <class T, bool Additive>
inline void few_dot_lying(const few_args<T, Additive>& f, const row_block<T>& keys, index whole,
                          T* queries, T* scores) {
  constexpr index n = lanes<T>;
  const few_layout& at = f.layout;
  const index rows = f.rows.count(), step = rows == 1 ? whole : 4 * n;
  for (index j = 0; j < whole; j += step) {
    const T* const first = keys.data + j * keys.stride;
    const index count = whole - j < step ? whole - j : step;
    for (index r = 0; r < rows; ++r) {
      const T* const q = queries + r * at.features;
      T* const to = scores + r * at.block + j;
      if constexpr (!short_loops)
        if (few_dot_run(q, first, keys.stride, at.features, count, to)) continue;
      for (index k = 0; k < count; k += n)
        dot_keys(q, first + k * keys.stride, keys.stride, at.features, to + k);
    }
  }
}

/// Scores of one group of keys, of whole vectors of features.
template <class T, bool Additive>
SOFTLOOK_ALWAYS_INLINE void few_dot_group(const few_args<T, Additive>& f, const row_block<T>& keys,
                                          index done, T* scratch) {
  const few_layout& at = f.layout;
  for (index r = 0; r < f.rows.count(); ++r)
    dot_keys(scratch + at.queries + r * at.features, keys.data, keys.stride, at.features,
             scratch + at.scores + r * at.block + done);
}

template <class T, bool Additive>
inline void few_dot_scores(const few_args<T, Additive>& f, range keys, T* scratch) {
  constexpr index n = lanes<T>;
  const few_layout& at = f.layout;
  const row_source<T>& K = f.head.keys;
  if (K.read->dot && K.cols == at.features && K.col_stride <= 1) {
    for (index r = 0; r < f.rows.count(); ++r)
      K.read->dot(K, keys, scratch + at.queries + r * at.features,
                  scratch + at.scores + r * at.block);
    return;
  }
  for (index done = 0; done < keys.count();) {
    const index j = keys.begin + done;
    // Where they lie, if their features are whole vectors.
    row_block<T> lying;
    if (K.cols == at.features) lying = K.read->in_place(K, {j, keys.end});
    if (lying.count == 0) {
      few_dot_group(f,
                    padded_rows(K, {j, j + n < keys.end ? j + n : keys.end}, at.features, n,
                                scratch + at.keys),
                    done, scratch);
      done += n;
      continue;
    }
    const index whole = lying.count / n * n;
    few_dot_lying(f, lying, whole, scratch + at.queries, scratch + at.scores + done);
    const row_block<T> rest{lying.data + whole * lying.stride, lying.stride};
    for (index r = 0; whole < lying.count && r < f.rows.count(); ++r)
      dot_rest(scratch + at.queries + r * at.features, rest, lying.count - whole, at.features,
               scratch + at.scores + r * at.block + done + whole);
    done += lying.count;
  }
}

/// Packs all keys of additive scores and computes ahead what depends on them alone.
template <class T>
void pack_all_keys(const matrix_view<T>& K, const packed_keys_layout& at, T* storage) {
  constexpr index width = tile_vectors * lanes<T>;
  for (index j = 0; j < K.rows; j += width) {
    const index count = K.rows - j < width ? K.rows - j : width;
    additive_panel<T> panel = panel_at(storage + j * K.cols, at.form, storage + at.largest + j);
    pack_panel(row_of(K, j), count, K.cols, K.row_stride, K.col_stride, width, T(1), panel.raw);
    begin_panel(panel, K.cols, width, count);
    if (panel.least <= moderate_sum<T>) need_exponential(panel);
    if (panel.least <= small_sum<T>) need_tangent(panel);
    T* bounds = storage + at.bounds + j / width * 2;
    bounds[0] = panel.least;
    bounds[1] = panel.most;
  }
}

/// Keys [j, j + count) with their forms: as they were packed ahead, or packed into the scratch.
template <class T, bool Additive>
inline additive_panel<T> few_key_panel(const few_args<T, Additive>& f, index j, index count,
                                       T* scratch) {
  constexpr index width = tile_vectors * lanes<T>;
  const row_source<T>& K = f.head.keys;
  if (f.packed) {
    T* storage = const_cast<T*>(f.packed);  // a panel that has all its forms is only read
    additive_panel<T> panel =
        panel_at(storage + j * K.cols, f.packed_at.form, storage + f.packed_at.largest + j);
    const T* bounds = storage + f.packed_at.bounds + j / width * 2;
    panel.least = bounds[0];
    panel.most = bounds[1];
    panel.has_exponential = panel.has_tangent = true;
    return panel;
  }
  const few_layout& at = f.layout;
  additive_panel<T> panel = panel_at(scratch + at.keys, at.key_form, scratch + at.key_sizes);
  K.read->pack(K, {j, j + count}, width, panel.raw);
  begin_panel(panel, K.cols, width, count);
  return panel;
}

template <class T, bool Additive>
inline void few_additive_scores(const few_args<T, Additive>& f, additive_panel<T>* rows, range keys,
                                T* scratch) {
  constexpr index width = tile_vectors * lanes<T>;
  const few_layout& at = f.layout;
  const index depth = f.head.keys.cols;
  T* tile = scratch + at.tile;
  for (index j = keys.begin; j < keys.end; j += width) {
    const index count = keys.end - j < width ? keys.end - j : width;
    additive_panel<T> wide = few_key_panel(f, j, count, scratch);
    for (index r = 0; r < f.rows.count(); r += tile_rows) {
      const index left = f.rows.count() - r, used = left < tile_rows ? left : tile_rows;
      T* to = scratch + at.scores + r * at.block + (j - keys.begin);
      additive_scores<T, tile_vectors>(rows[r / tile_rows], wide, f.head.v.data, depth, used,
                                       used == 1 ? to : tile);
      for (index k = 0; used > 1 && k < used; ++k)
        for (index x = 0; x < width; x += lanes<T>)
          store(to + k * at.block + x, load(tile + k * width + x));
    }
  }
}
