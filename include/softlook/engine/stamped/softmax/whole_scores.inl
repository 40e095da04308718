// Scores and weights that are shown, n×m: the product of the tiled kernel, and a softmax.

/// S = scale · Q Kᵀ. `scratch` has room for whole_scores_size().
template <class T>
void whole_scores(const matrix_view<T>& Q, const matrix_view<T>& K, T scale,
                  const mutable_matrix_view<T>& S, T* scratch) {
  constexpr index width = tile_vectors * lanes<T>;
  const index depth = Q.cols;
  alignas(64) T tile[tile_rows * width] = {};
  rows_ahead<T> nothing_ahead;
  T* const keys = scratch + round_up(Q.rows, width) * depth;
  for (index i = 0; i < Q.rows; i += width)
    pack_panel(row_of(Q, i), Q.rows - i < width ? Q.rows - i : width, depth, Q.row_stride,
               Q.col_stride, width, scale, scratch + i * depth);
  for (index j = 0; j < K.rows; j += tile_rows) {
    const index count = K.rows - j < tile_rows ? K.rows - j : index(tile_rows);
    pack_panel(row_of(K, j), count, depth, K.row_stride, K.col_stride, index(tile_rows), T(1),
               keys);
    for (index i = 0; i < Q.rows; i += width) {
      if (depth > 0)
        product_beside<T, tile_rows, tile_vectors, softmax_step<T>>(
            keys, scratch + i * depth, tile, 1, depth, nullptr, nullptr, nothing_ahead);
      unpack_panel(tile, width, &S(i, j), Q.rows - i < width ? Q.rows - i : width, count,
                   S.row_stride, S.col_stride);
    }
  }
}

/// A row of scores becomes weights, beside a sink if there is one; a row of −∞ becomes zeros.
template <class T>
void soften_row(T* row, index count, T sink) {
  constexpr index width = lanes<T>;
  const index whole = count / width * width;
  alignas(64) T rest[lanes<T>];
  for (index k = 0; k < width; ++k) rest[k] = k < count - whole ? row[whole + k] : -infinity<T>;
  vec<T> most = max_of(load(rest), broadcast(sink));  // a NaN is not seen
  for (index j = 0; j < whole; j += width) most = max_of(load(row + j), most);
  T top = sink;
  for (int k = 0; k < lanes<T>; ++k) top = most[k] > top ? most[k] : top;
  if (top == -infinity<T>) top = 0;
  const vec<T> shift = broadcast(top), unit = broadcast(T(log4_e));
  vec<T> sums = {};
  for (index j = 0; j < count; j += width) {
    T* const at = j < whole ? row + j : rest;
    const vec<T> p = exp4_nonpositive<T>((load(at) - shift) * unit);
    store(at, p);
    sums += p;
  }
  T sum = exp4_nonpositive<T>(broadcast((sink - top) * T(log4_e)))[0];
  for (int k = 0; k < lanes<T>; ++k) sum += sums[k];
  const vec<T> divisor = broadcast(sum == 0 ? T(1) : sum);
  for (index j = 0; j < whole; j += width) store(row + j, load(row + j) / divisor);
  store(rest, load(rest) / divisor);
  __builtin_memcpy(row + whole, rest, std::size_t(count - whole) * sizeof(T));
}
