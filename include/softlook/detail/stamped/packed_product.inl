// C = A·B for the projections of queries and keys, on the attention kernel's own micro-kernel: rows
// of A lie in lanes, columns of B are broadcast, C comes out column by column.

template <class T, int Vectors>
inline void product_columns(const T* columns, index count, const T* rows, index depth, T* tile) {
  for (index c = 0; c < count; c += tile_rows)
    product_panel<T, Vectors>(columns + c * depth, rows, depth, tile + c * Vectors * lanes<T>);
}

/// Rows [rows.begin, rows.end) of C. Scratch: a register tile of rows, a block of packed columns
/// and a block of results.
template <class T>
void product(const product_args<T>& a, range rows, T* scratch) {
  const index depth = a.A.cols, full = tile_vectors * lanes<T>;
  T* packed_rows = scratch;
  T* tile = packed_rows + round_up(depth * full, 16);
  T* packed_columns = tile + a.block_columns * full;
  for (index first = 0; first < a.B.cols; first += a.block_columns) {
    const index left = a.B.cols - first, count = left < a.block_columns ? left : a.block_columns;
    pack_panels(a.B.data + first * a.B.col_stride, count, depth, a.B.col_stride, a.B.row_stride,
                tile_rows, packed_columns);
    for (index i = rows.begin; i < rows.end; i += full) {
      const index used = rows.end - i < full ? rows.end - i : full;
      const index vectors = ceil_div(used, lanes<T>), width = vectors * lanes<T>;
      pack_panel(a.A.data + i * a.A.row_stride, used, depth, a.A.row_stride, a.A.col_stride, width,
                 T(1), packed_rows);
      switch (vectors) {
        case 1:
          product_columns<T, 1>(packed_columns, count, packed_rows, depth, tile);
          break;
        case 2:
          product_columns<T, 2>(packed_columns, count, packed_rows, depth, tile);
          break;
        default:
          product_columns<T, 3>(packed_columns, count, packed_rows, depth, tile);
      }
      for (index c = 0; c < count; ++c)
        __builtin_memcpy(a.C + (first + c) * a.C_stride + i, tile + c * width,
                         std::size_t(used) * sizeof(T));
    }
  }
}
