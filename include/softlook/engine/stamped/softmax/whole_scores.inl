// Scores that are shown, n×m, by the product of the tiled kernel.

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
