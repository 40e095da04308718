// Rows of keys and values from their sources: strided matrices and pages of rows, of T or of
// shorter numbers that are converted as they are read.

/// Rows at equal distances.
template <class Stored>
struct stored_run {
  const Stored* data;
  index rows;
  index row_stride;
  index col_stride;
  const float* scales;  // of numbers of 8 bits
  index scale_stride;
};

/// As many of the rows, from the first on, as are equally far apart. Rows without columns may have
/// no memory: then none is a step away from another.
template <class T, class Stored, bool Paged>
SOFTLOOK_ALWAYS_INLINE stored_run<Stored> first_run(const row_source<T>& source, range rows) {
  const bool empty = source.cols == 0;
  if constexpr (Paged) {
    const row_pages& p = *static_cast<const row_pages*>(source.storage);
    const index row = source.first_row + rows.begin, page = row >> p.page_shift;
    const index within = row - (page << p.page_shift), left = (index(1) << p.page_shift) - within;
    const auto* data = static_cast<const Stored*>(p.pages[page]);
    const float* scales = nullptr;
    if constexpr (sizeof(Stored) == 1)
      scales = p.scales[page] + within * p.scale_stride + source.first_col / p.head_columns;
    return {empty ? data : data + within * p.row_stride + source.first_col,
            left < rows.count() ? left : rows.count(),
            empty ? 0 : p.row_stride,
            1,
            scales,
            p.scale_stride};
  } else {
    const matrix_view<Stored> X = stored_matrix<Stored>(source);
    return {row_of(X, rows.begin), rows.count(), empty ? 0 : X.row_stride,
            X.col_stride,          nullptr,      0};
  }
}

/// Columns of a row as T.
template <class T, class Stored>
SOFTLOOK_ALWAYS_INLINE void read_columns(const stored_run<Stored>& run, index row, index first,
                                         index count, T* to) {
  const Stored* from = run.data + row * run.row_stride + first * run.col_stride;
  T scale = 1;
  if constexpr (sizeof(Stored) == 1) scale = T(run.scales[row * run.scale_stride]);
  index c = 0;
  if (run.col_stride == 1)
    for (; c + lanes<T> <= count; c += lanes<T>) {
      vec<T> x = stored_as(from + c);
      if constexpr (sizeof(Stored) == 1) x = x * broadcast(scale);
      store(to + c, x);
    }
  if (c == count) return;
  alignas(64) Stored rest[lanes<T>] = {};
  alignas(64) T converted[lanes<T>];
  for (; c < count; c += lanes<T>) {
    const index some = count - c < lanes<T> ? count - c : index(lanes<T>);
    for (index k = 0; k < some; ++k) rest[k] = from[(c + k) * run.col_stride];
    vec<T> x = stored_as(rest);
    if constexpr (sizeof(Stored) == 1) x = x * broadcast(scale);
    store(converted, x);
    for (index k = 0; k < some; ++k) to[c + k] = converted[k];
  }
}

/// A panel whose rows are of shorter numbers, or lie in several pages.
template <class T, class Stored, bool Paged>
__attribute__((noinline)) void pack_apart(const row_source<T>& source, range rows, index width,
                                          T* panel) {
  constexpr index columns = 64, most_rows = tile_vectors * lanes<T>;
  alignas(64) T block[most_rows * columns];
  for (index c = 0; c < source.cols; c += columns) {
    const index count = source.cols - c < columns ? source.cols - c : columns;
    for (index r = rows.begin; r < rows.end;) {
      const stored_run<Stored> run = first_run<T, Stored, Paged>(source, {r, rows.end});
      for (index k = 0; k < run.rows; ++k, ++r)
        read_columns(run, k, c, count, block + (r - rows.begin) * columns);
    }
    pack_panel(block, rows.count(), count, columns, index(1), width, T(1), panel + c * width);
  }
}

template <class T, class Stored, bool Paged>
void pack_stored(const row_source<T>& source, range rows, index width, T* panels) {
  for (index r = rows.begin; r < rows.end;) {
    T* const panel = panels + (r - rows.begin) * source.cols;
    index count = 0;
    if constexpr (std::is_same_v<T, Stored>) {
      const stored_run<T> run = first_run<T, T, Paged>(source, {r, rows.end});
      count = r + run.rows == rows.end ? run.rows : run.rows / width * width;
      if (!Paged || count > 0)
        pack_panels(run.data, count, source.cols, run.row_stride, run.col_stride, width, panel);
    }
    if constexpr (Paged || !std::is_same_v<T, Stored>)
      if (count == 0) {
        count = rows.end - r < width ? rows.end - r : width;
        pack_apart<T, Stored, Paged>(source, {r, r + count}, width, panel);
      }
    r += count;
  }
}

template <class T, class Stored, bool Paged>
row_block<T> stored_in_place(const row_source<T>& source, range rows) {
  if constexpr (!std::is_same_v<T, Stored>) {
    return {};
  } else {
    if (source.cols == 0 || rows.empty()) return {};
    const stored_run<T> run = first_run<T, T, Paged>(source, rows);
    if (run.col_stride != 1) return {};
    return {run.data, run.row_stride, run.rows};
  }
}

template <class T, class Stored, bool Paged>
void copy_stored(const row_source<T>& source, range rows, index padded, T* buffer) {
  for (index r = rows.begin; r < rows.end;) {
    const stored_run<Stored> run = first_run<T, Stored, Paged>(source, {r, rows.end});
    T* const to = buffer + (r - rows.begin) * padded;
    if constexpr (std::is_same_v<T, Stored>) {
      // A panel as wide as the columns, of a matrix whose rows are the source's columns.
      pack_panel(run.data, source.cols, run.rows, run.col_stride, run.row_stride, padded, T(1), to);
    } else {
      for (index k = 0; k < run.rows; ++k) {
        prefetch(run.data + k * run.row_stride, 16 * run.row_stride);
        read_columns(run, k, index(0), source.cols, to + k * padded);
        for (index c = source.cols; c < padded; ++c) to[k * padded + c] = 0;
      }
    }
    r += run.rows;
  }
}

template <class T, class Stored, bool Paged>
void prefetch_stored(const row_source<T>& source, range& rows, index count) {
  if (source.cols == 0) return;
  const index end = count < rows.count() ? rows.begin + count : rows.end;
  while (rows.begin < end) {
    const stored_run<Stored> run = first_run<T, Stored, Paged>(source, {rows.begin, end});
    if (run.col_stride != 1) return;
    const Stored* row = run.data;
    for (index k = 0; k < run.rows; ++k, row += run.row_stride)
      for (index c = 0; c < source.cols; c += 64 / index(sizeof(Stored)))
        __builtin_prefetch(row + c, 0, 2);
    rows.begin += run.rows;
  }
}
