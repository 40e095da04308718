// Y = f(X·Ŵ + b) ∘ G + R with Ŵ packed in shorter numbers, in panels like those of
// packed_product.inl. A number of Y is one chain of multiply-adds over the rows of Ŵ, whatever way
// it takes, so no bit depends on the number of rows; numbers of 8 bits are scaled when the sum is
// complete.
//
// Traffic of a block of rows: as of the packed product, with 2 or 1 bytes for a weight. The rows of
// one register tile are bound by it and convert in registers. More rows share a chunk of a panel,
// converted once, in the first-level cache; their sums wait beside it.

/// Steps in a converted chunk: 18 KiB of weights, and 12 KiB of sums.
inline constexpr index stored_steps = 96;
/// How far ahead few rows ask for what they read.
inline constexpr index stored_ahead_bytes = 4096;

/// Scale, bias, activation, factor and residual on a tile of sums, then out.
template <class T>
__attribute__((noinline)) inline void finish_stored(const product_args<T>& a, index first,
                                                    index used, index column, T* tile,
                                                    index width) {
  if (column >= a.Y.cols) return;  // a panel may be filled up with whole tiles
  if (a.scales)
    for (index r = 0; r < used; ++r)
      for (index v = 0; v < width; v += lanes<T>)
        store(tile + r * width + v, load(tile + r * width + v) * load(a.scales + column + v));
  finish_tile(a, first, used, column, tile, width);
}

/// A register tile of C = A · B, converted on the way.
template <class T, int Rows, int Vectors, class Stored>
__attribute__((noinline)) inline void direct_product(strided_operand<T, Rows, 0> A, const Stored* B,
                                                     T* C, index depth) {
  vec<T> sum[Rows][Vectors];
  clear_sums<T>(sum);
#pragma GCC unroll 2
  for (index k = 0; k < depth; ++k) {
    vec<T> b[Vectors];
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) {
      if (v * lanes<T> * int(sizeof(Stored)) % 64 == 0)
        prefetch(B + v * lanes<T>, stored_ahead_bytes / index(sizeof(Stored)));
      b[v] = stored_as(B + v * lanes<T>);
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const vec<T> x = broadcast(A.scalar(0, r));
#pragma GCC unroll 16
      for (int v = 0; v < Vectors; ++v) {
        accumulate(sum[r][v], x, b[v]);
        keep_order(sum[r][v]);
      }
    }
    A.end_step();
    B += panel_width<T>;
  }
  finish_sums_by<finish::store>(sum, C, static_cast<const T*>(nullptr));
}

template <class T, int Rows, int Vectors, class Stored>
inline void direct_panel(const product_args<T>& a, range rows, index column, const Stored* panel) {
  constexpr int width = Vectors * lanes<T>;
  alignas(64) T tile[Rows * width];
  for (index part = 0; part < panel_width<T>; part += width) {
    direct_product<T, Rows, Vectors>(rows_of_X<T, Rows, 0>(a, rows.begin, rows.count(), 0),
                                     panel + part, tile, a.X.cols);
    finish_stored(a, rows.begin, rows.count(), column + part, tile, index(width));
  }
}

/// Numbers as they are stored as those of the arithmetic, whole vectors.
template <class T, class Stored>
void widen(const void* from, T* to, index count) {
  const Stored* const p = static_cast<const Stored*>(from);
#pragma GCC unroll 3
  for (index c = 0; c < count; c += lanes<T>) store(to + c, stored_as(p + c));
}

/// A panel for up to chunk_rows rows.
template <class T>
inline void converted_panel(const product_args<T>& a, range rows, index column,
                            const std::int8_t* panel, index stored_bytes,
                            void (*convert)(const void*, T*, index)) {
  constexpr index full = tile_vectors * lanes<T>, tile_size = tile_rows * full;
  constexpr index width = panel_width<T>;
  alignas(64) T wide[stored_steps * width];
  alignas(64) T sums[chunk_rows * width];
  const index size = ceil_div(rows.count(), tile_rows) * tile_rows * width;
  __builtin_memset(sums, 0, std::size_t(size) * sizeof(T));
  const auto each_tile = [&](const auto& f) SOFTLOOK_STAMP_LAMBDA {
    T* tile = sums;
    for (index part = 0; part < width; part += full)
      for (index i = rows.begin; i < rows.end; i += tile_rows, tile += tile_size)
        f(i, rows.end - i < tile_rows ? rows.end - i : index(tile_rows), part, tile);
  };
  for (index k = 0; k < a.X.cols; k += stored_steps) {
    const index steps = a.X.cols - k < stored_steps ? a.X.cols - k : stored_steps;
    convert(panel + k * width * stored_bytes, wide, steps * width);
    auto ahead = reinterpret_cast<std::uintptr_t>(panel) +
                 std::uintptr_t((k + steps) * width * stored_bytes);
    each_tile([&](index i, index used, index part, T* tile) SOFTLOOK_STAMP_LAMBDA {
      auto x = rows_of_X<T, tile_rows, 1>(a, i, used, k);
      x.ahead = ahead;
      ahead += std::uintptr_t(prefetch_step * steps);
      continued_product<T, tile_rows, tile_vectors>(x, wide + part, tile, steps);
    });
  }
  each_tile([&](index i, index used, index part, T* tile)
                SOFTLOOK_STAMP_LAMBDA { finish_stored(a, i, used, column + part, tile, full); });
}

/// Rows of Y in a range of columns that begins at a panel.
template <class T, class Stored>
void stored_linear(const product_args<T>& a, range rows, range columns) {
  const Stored* const panels = reinterpret_cast<const Stored*>(a.panels);
  for (index column = columns.begin; column < columns.end; column += panel_width<T>) {
    const Stored* const panel = panels + column * a.X.cols;
    if (a.X.cols == 0 || rows.count() > tile_rows)
      for (index i = rows.begin; i < rows.end; i += chunk_rows)
        converted_panel<T>(a, {i, rows.end - i < chunk_rows ? rows.end : i + chunk_rows}, column,
                           reinterpret_cast<const std::int8_t*>(panel), sizeof(Stored),
                           &widen<T, Stored>);
    else if (rows.count() == 1)
      direct_panel<T, 1, panel_width<T> / lanes<T>>(a, rows, column, panel);
    else if (rows.count() <= 4)
      direct_panel<T, 4, tile_vectors>(a, rows, column, panel);
    else
      direct_panel<T, tile_rows, tile_vectors>(a, rows, column, panel);
  }
}
