// Y = f(X·W + b) ∘ G + R with W packed once. Features of Y lie in lanes; the rows of X are
// broadcast from where they lie, so that neither X nor Y is ever transposed (but a column-major Y).
//
// Traffic of a block of rows: X stays in the second-level cache, each panel of W is read from
// memory once and from a cache for every further register tile of rows; Y is written once.

/// W packed: panels of panel_width columns, depth-major; the last one is filled up with zeros. The
/// width does not depend on the instruction set, so neither does a packed matrix.
template <class T>
inline constexpr int panel_width = packed_panel_width<T>;
static_assert(panel_width<float> % (tile_vectors * lanes<float>) == 0);

template <class T>
void pack_weights(const matrix_view<T>& W, T* panels) {
  pack_panels(W.data, W.cols, W.rows, W.col_stride, W.row_stride, panel_width<T>, panels);
}

/// Lines of the next panel to ask for with each block of steps: it has to be there when these rows
/// are done with this one. With few register tiles of rows each of them asks for more; with a dozen
/// that would only take loads from the product.
inline constexpr int few_tiles = 6, lines_for_few_tiles = 3;

/// `used` rows of X from a step in depth on; rows beyond the last repeat it.
template <class T, int Rows, int Lines>
SOFTLOOK_ALWAYS_INLINE strided_operand<T, Rows, Lines> rows_of_X(const product_args<T>& a,
                                                                 index first, index used,
                                                                 index step) {
  strided_operand<T, Rows, Lines> x;
  const T* const from = a.X.data + step * a.X.col_stride;
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
    x.row[r] = from + (first + (r < used ? r : used - 1)) * a.X.row_stride;
  x.step = a.X.col_stride;
  return x;
}

/// Rows of X times a register tile of W.
template <class T, int Rows, int Vectors, int Lines>
inline void product_rows(const product_args<T>& a, index first, index used, const T* panel,
                         std::uintptr_t ahead, T* tile) {
  auto x = rows_of_X<T, Rows, Lines>(a, first, used, index(0));
  x.ahead = ahead;
  micro_kernel<T, Rows, Vectors, finish::store>(x, panel, tile, a.X.cols, nullptr);
}

template <class T, int Vectors, int Lines>
inline void product_tile(const product_args<T>& a, index first, index used, const T* panel,
                         std::uintptr_t ahead, T* tile) {
  if (a.X.cols == 0)
    for (int x = 0; x < tile_rows * Vectors; ++x) store(tile + x * lanes<T>, vec<T>{});
  else if (used == 1)
    product_rows<T, 1, Vectors, Lines>(a, first, used, panel, ahead, tile);
  else if (used <= 4 || tile_rows == 4)
    product_rows<T, 4, Vectors, Lines>(a, first, used, panel, ahead, tile);
  else
    product_rows<T, tile_rows, Vectors, Lines>(a, first, used, panel, ahead, tile);
}

/// The tile's part of an n×a matrix is multiplied into it, or added to it.
template <class T, bool Multiplied>
inline void join_matrix(const matrix_view<T>& with, index first, index used, index column,
                        index columns, T* tile, index width) {
  const index whole = with.col_stride == 1 ? columns / lanes<T> * lanes<T> : 0;
  const auto joined = [](const auto& x, const auto& y) SOFTLOOK_STAMP_LAMBDA {
    if constexpr (Multiplied)
      return x * y;
    else
      return x + y;
  };
  for (index r = 0; r < used; ++r) {
    const T* from = &with(first + r, column);
    T* to = tile + r * width;
    for (index c = 0; c < whole; c += lanes<T>) store(to + c, joined(load(to + c), load(from + c)));
    for (index c = whole; c < columns; ++c) to[c] = joined(to[c], from[c * with.col_stride]);
  }
}

/// Bias, activation, factor and residual on a tile of products, then out: Y(first + r, column + c).
template <class T>
inline void finish_tile(const product_args<T>& a, index first, index used, index column, T* tile,
                        index width) {
  const index columns = a.Y.cols - column < width ? a.Y.cols - column : width;
  if (a.bias)
    for (index r = 0; r < used; ++r)
      for (index v = 0; v < width; v += lanes<T>)
        store(tile + r * width + v, load(tile + r * width + v) + load(a.bias + column + v));
  if (a.activate) a.activate(tile, used * width);
  if (a.factor.data) join_matrix<T, true>(a.factor, first, used, column, columns, tile, width);
  if (a.residual.data) join_matrix<T, false>(a.residual, first, used, column, columns, tile, width);
  T* out = &a.Y(first, column);
  if (a.Y.col_stride == 1)
    for (index r = 0; r < used; ++r)
      __builtin_memcpy(out + r * a.Y.row_stride, tile + r * width,
                       std::size_t(columns) * sizeof(T));
  else
    unpack_panel(tile, width, out, columns, used, a.Y.col_stride, a.Y.row_stride);
}

/// `Args` are product_args of T, or of what finishes its tiles otherwise.
template <class T, int Vectors, int Lines = 1, class Args>
inline void product_column(const Args& a, range rows, index column) {
  constexpr int width = Vectors * lanes<T>;
  alignas(64) T tile[tile_rows * width];
  const index panel_size = panel_width<T> * a.X.cols;
  const T* first = a.panels + column / panel_width<T> * panel_size;
  auto ahead = reinterpret_cast<std::uintptr_t>(first + panel_size);
  for (index i = rows.begin; i < rows.end;
       i += tile_rows, ahead += std::uintptr_t(Lines * prefetch_step * a.X.cols)) {
    const index used = rows.end - i < tile_rows ? rows.end - i : tile_rows;
    product_tile<T, Vectors, Lines>(a, i, used, first + column % panel_width<T>, ahead, tile);
    finish_tile(a, i, used, column, tile, index(width));
  }
}

/// Steps of a panel, and rows that share them while they stay in the first-level cache: needed
/// where a register tile reads half of a panel's width, for then it touches more lines than it
/// uses.
inline constexpr bool shares_chunks = vector_bytes == 32;
inline constexpr index chunk_steps = 192, chunk_rows = 64;

/// C += A · B, as a part of one chain: sums go on where they were.
template <class T, int Rows, int Vectors>
__attribute__((noinline)) inline void continued_product(strided_operand<T, Rows, 1> A, const T* B,
                                                        T* C, index depth) {
  vec<T> sum[Rows][Vectors];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sum[r][v] = load(C + (r * Vectors + v) * lanes<T>);
  add_steps<0, Vectors>(A, B, depth, sum);
  finish_sums_by<finish::store>(sum, C, static_cast<const T*>(nullptr));
}

/// The products of many rows, chunk by chunk; sums wait beside the chunk.
template <class T, class Args>
inline void product_column_in_chunks(const Args& a, range rows, index column) {
  constexpr int width = tile_vectors * lanes<T>;
  alignas(64) T sums[chunk_rows * width];
  const T* const panel = a.panels + column / panel_width<T> * panel_width<T> * a.X.cols;
  for (index first = rows.begin; first < rows.end; first += chunk_rows) {
    const index end = rows.end - first < chunk_rows ? rows.end : first + chunk_rows;
    const auto each_tile = [&](const auto& f) SOFTLOOK_STAMP_LAMBDA {
      for (index i = first; i < end; i += tile_rows)
        f(i, end - i < tile_rows ? end - i : index(tile_rows), sums + (i - first) * width);
    };
    for (index k = 0; k < a.X.cols; k += chunk_steps) {
      const index steps = a.X.cols - k < chunk_steps ? a.X.cols - k : chunk_steps;
      const T* const chunk = panel + k * panel_width<T> + column % panel_width<T>;
      auto ahead = reinterpret_cast<std::uintptr_t>(panel + (k + a.X.cols) * panel_width<T>);
      each_tile([&](index i, index used, T* tile) SOFTLOOK_STAMP_LAMBDA {
        auto x = rows_of_X<T, tile_rows, 1>(a, i, used, k);
        x.ahead = ahead;
        ahead += std::uintptr_t(prefetch_step * steps);
        if (k == 0)
          micro_kernel<T, tile_rows, tile_vectors, finish::store>(x, chunk, tile, steps, nullptr);
        else
          continued_product<T, tile_rows, tile_vectors>(x, chunk, tile, steps);
      });
    }
    each_tile([&](index i, index used, T* tile)
                  SOFTLOOK_STAMP_LAMBDA { finish_tile(a, i, used, column, tile, index(width)); });
  }
}

/// Rows of Y in a range of columns that begins at a panel.
template <class T, class Args>
SOFTLOOK_ALWAYS_INLINE void product_columns(const Args& a, range rows, range columns) {
  constexpr index full = tile_vectors * lanes<T>;
  const bool few = rows.count() <= few_tiles * tile_rows;
  for (index column = columns.begin; column < columns.end; column += full) {
    const index left = columns.end - column;
    if (left > 2 * lanes<T> && few)
      product_column<T, 3, lines_for_few_tiles>(a, rows, column);
    else if (shares_chunks && left > 2 * lanes<T> && a.X.cols > chunk_steps)
      product_column_in_chunks<T>(a, rows, column);
    else if (left > 2 * lanes<T>)
      product_column<T, 3>(a, rows, column);
    else if (left > lanes<T>)
      product_column<T, 2>(a, rows, column);
    else
      product_column<T, 1>(a, rows, column);
  }
}

template <class T>
void linear(const product_args<T>& a, range rows, range columns) {
  product_columns<T>(a, rows, columns);
}
