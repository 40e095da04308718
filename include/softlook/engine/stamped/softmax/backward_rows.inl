// Rows of the way back: packed as right operands, and sums that are added to those of a gradient.

/// Vectors of a panel of `vectors` in all: panels of one register tile and less, nearly as wide as
/// each other, because a tile of one vector reads as much as it multiplies.
SOFTLOOK_ALWAYS_INLINE index panel_vectors(index vectors) {
  return ceil_div(vectors, ceil_div(vectors, index(tile_vectors)));
}

/// f(first column, columns, width) of each panel; columns are filled up to whole vectors.
template <class T, class F>
SOFTLOOK_ALWAYS_INLINE void each_panel(index cols, const F& f) {
  for (index c = 0; c < cols;) {
    const index width = panel_vectors(ceil_div(cols - c, index(lanes<T>))) * lanes<T>;
    f(c, cols - c < width ? cols - c : width, width);
    c += width;
  }
}

/// scale times the rows of a block as the right operand of a product, in panels, a row behind the
/// other. Returns whether they are finite, and none larger than `most`.
template <class T>
inline bool pack_block(const matrix_view<T>& X, range rows, T scale, T most, T* panels) {
  const index count = rows.count();
  vec<T> zero = {}, top = {};
  each_panel<T>(X.cols, [&](index c, index cols, index width) SOFTLOOK_STAMP_LAMBDA {
    T* const panel = panels + c * count;
    const index whole = X.col_stride == 1 ? cols / lanes<T> * lanes<T> : 0;
    for (index r = 0; r < count; ++r) {
      const T* const from = row_of(X, rows.begin + r) + c * X.col_stride;
      T* const to = panel + r * width;
      for (index x = 0; x < whole; x += lanes<T>) {
        const vec<T> y = load(from + x) * broadcast(scale);
        store(to + x, y);
        zero = zero + (y - y);
        top = max_of(top, max_of(vec<T>{} - y, y));
      }
      for (index x = whole; x < width; ++x)
        to[x] = x < cols ? from[x * X.col_stride] * scale : T(0);
      for (index x = whole; x < width; x += lanes<T>) {
        const vec<T> y = load(to + x);
        zero = zero + (y - y);
        top = max_of(top, max_of(vec<T>{} - y, y));
      }
    }
  });
  T sum = 0;
  bool within = true;
  for (int l = 0; l < lanes<T>; ++l) {
    sum += zero[l];
    within = within && !(top[l] > most);
  }
  return sum == 0 && within;
}

/// Rows of P or dS against such a panel, which follows its rows by itself: nothing is asked for
/// ahead.
template <class T>
struct key_rows : strided_operand<T, tile_rows, 0> {
  SOFTLOOK_ALWAYS_INLINE index wide_step(int width) const { return width; }
};

/// Y += A·B for the rows of a register tile, where they lie.
template <class T, int Vectors>
__attribute__((noinline)) inline void add_product_rows(key_rows<T> A, const T* B, T* Y,
                                                       index row_stride, index depth) {
  vec<T> sum[tile_rows][Vectors];
  clear_sums<T>(sum);
#pragma GCC unroll 8
  for (int r = 0; r < tile_rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) prefetch(Y + r * row_stride + v * lanes<T>, 0);
  add_steps<0, Vectors>(A, B, depth, sum);
#pragma GCC unroll 8
  for (int r = 0; r < tile_rows; ++r, Y += row_stride)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) store(Y + v * lanes<T>, load(Y + v * lanes<T>) + sum[r][v]);
}

/// Y += X, `cols` numbers beside each other.
template <class T>
SOFTLOOK_ALWAYS_INLINE void add_to_row(T* Y, const T* X, index cols) {
  index c = 0;
  for (; c + lanes<T> <= cols; c += lanes<T>) store(Y + c, load(Y + c) + load(X + c));
  for (; c < cols; ++c) Y[c] += X[c];
}

/// Rows of Y += rows that lie behind one another.
template <class T>
inline void add_to_rows(const mutable_matrix_view<T>& Y, range rows, const T* from) {
  for (index r = rows.begin; r < rows.end; ++r, from += Y.cols)
    if (Y.col_stride == 1)
      add_to_row(row_of(Y, r), from, Y.cols);
    else
      for (index c = 0; c < Y.cols; ++c) Y(r, c) += from[c];
}
