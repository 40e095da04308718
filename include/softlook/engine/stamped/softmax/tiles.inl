// The tiles of the tiled kernel: register tiles of queries with their running softmax and output,
// tiles of keys and values; how they are cut, packed and written back.

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
  rows_ahead<T> next_keys;
  rows_ahead<T> next_values;
  additive_panel<T> additive[Additive ? max_key_tile / tile_rows : 1]{};
};

template <class T, bool Additive>
inline void pack_queries(const forward_args<T, Additive>& a, query_tile<T>& q) {
  const index width = q.vectors * lanes<T>;
  const T scale = Additive ? T(1) : a.query_scale;
  pack_panel(row_of(a.Q, q.first), q.used, a.Q.cols, a.Q.row_stride, a.Q.col_stride, width, scale,
             q.packed);
  if constexpr (Additive) begin_panel(q.additive, a.Q.cols, width, q.used);
  const std::int32_t* const listed = a.frame->query_positions;
  const index first_query = a.frame->first_query, stride = a.frame->query_stride;
  for (index l = 0; l < width; ++l) {
    const index i = q.first + (l < q.used ? l : 0);
    q.positions[l] = listed ? listed[i] : std::int32_t(first_query + i * stride);
    q.maximum[l] = -infinity<T>;
    q.sum[l] = 0;
  }
}

template <class T, bool Additive>
inline void pack_keys(const forward_args<T, Additive>& a, key_tile<T, Additive>& k, T* value_rows) {
  const index count = k.keys.count(), features = a.keys.cols;
  k.packed = true;
  a.keys.read->pack(a.keys, k.keys, tile_rows, k.keys_packed);
  k.values = padded_rows(a.values, k.keys, a.layout.values, count, value_rows);
  k.finite = all_finite(k.values, count, a.values.cols);
  for (index r = 0; Additive && r < count; r += tile_rows)
    begin_panel(k.additive[r / tile_rows], features, tile_rows,
                count - r < tile_rows ? count - r : tile_rows);
}

/// The keys that the mask may allow.
template <class T, bool Additive>
inline void find_keys(const forward_args<T, Additive>& a, query_tile<T>& q) {
  q.keys = {};
  for (int v = 0; v < q.vectors; ++v) {
    const index first = q.first + v * lanes<T>;
    const range queries = intersection({first, first + lanes<T>}, {q.first, q.first + q.used});
    if (queries.empty()) break;
    q.live[v] = keys_of_rows(*a.policy, *a.frame, a.whole, queries, a.keys.rows);
    q.keys = hull(q.keys, q.live[v]);
  }
}

/// Cuts the queries of a task into register tiles; a remainder of 4 vectors is 2 + 2, not 3 + 1.
/// `Args` are forward_args, or others whose tiles are packed otherwise.
template <class Args, class T>
SOFTLOOK_STAMP_WAY inline index cut_queries(const Args& a, range queries, T* scratch,
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
    if constexpr (Args::additive)
      q.additive = panel_at(q.packed, at.query_form, scratch + at.query_sizes + count * full);
    find_keys(a, q);
    pack_queries(a, q);
    first += q.used;
  }
  return count;
}

template <class T, bool Additive>
inline void begin_key_tile(const forward_args<T, Additive>& a, range keys, T* scratch,
                           key_tile<T, Additive>& k) {
  const tiled_layout& at = a.layout;
  k.keys = keys;
  k.packed = false;
  k.keys_packed = scratch + at.keys;
  const range next = intersection({keys.end, keys.end + at.key_tile}, {0, a.keys.rows});
  k.next_keys = {&a.keys, next};
  k.next_values = {&a.values, next};
  for (index r = 0; Additive && r < keys.count(); r += tile_rows)
    k.additive[r / tile_rows] =
        panel_at(k.keys_packed + r * a.keys.cols, at.key_form, scratch + at.key_sizes + r);
}

/// O / l and m + log l. A query without a key has l = 0: a row of zeros, log-sum-exp −∞.
template <class T, bool Additive>
inline void write_output(const forward_args<T, Additive>& a, query_tile<T>& q) {
  const index width = q.vectors * lanes<T>;
  if (a.log_sum_exp)
    for (index l = 0; l < q.used; ++l)
      a.log_sum_exp[(q.first + l) * a.log_sum_exp_stride] =
          natural_log_sum_exp(q.maximum[l], q.sum[l]);
  for (index l = 0; a.row_maximum && l < q.used; ++l) {
    a.row_maximum[q.first + l] = q.maximum[l];
    a.row_sum[q.first + l] = q.sum[l];
  }
  for (index x = 0; x < width; x += lanes<T>)
    store(q.sum + x, vector_softmax<T>{load(q.maximum + x), load(q.sum + x)}.finish());
  if (!q.started)
    for (index x = 0; x < a.O.cols * width; x += lanes<T>) store(q.output + x, vec<T>{});
  unpack_panel(q.output, width, row_of(a.O, q.first), q.used, a.O.cols, a.O.row_stride,
               a.O.col_stride, q.sum);
}
