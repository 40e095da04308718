// Rows of keys and values from their sources; strided matrices are one.

template <class T, class Stored>
void pack_strided(const row_source<T>& source, range rows, index width, T* panels) {
  static_assert(std::is_same_v<T, Stored>, "the transposes of pack_panels() convert nothing");
  const matrix_view<Stored> X = stored_matrix<Stored>(source);
  pack_panels(row_of(X, rows.begin), rows.count(), X.cols, X.row_stride, X.col_stride, width,
              panels);
}

template <class T, class Stored>
row_block<T> strided_in_place(const row_source<T>& source, range rows) {
  if constexpr (!std::is_same_v<T, Stored>) return {};
  const matrix_view<Stored> X = stored_matrix<Stored>(source);
  if (X.col_stride != 1 || X.cols == 0) return {};
  return {row_of(X, rows.begin), X.row_stride};
}

template <class T, class Stored>
void copy_strided(const row_source<T>& source, range rows, index padded, T* buffer) {
  const matrix_view<Stored> X = stored_matrix<Stored>(source);
  // A panel as wide as the columns, of a matrix whose rows are X's columns.
  pack_panel(row_of(X, rows.begin), X.cols, rows.count(), X.col_stride, X.row_stride, padded, T(1),
             buffer);
}

template <class T, class Stored>
void prefetch_strided(const row_source<T>& source, range& rows, index count) {
  const matrix_view<Stored> X = stored_matrix<Stored>(source);
  if (X.col_stride != 1 || X.cols == 0) return;
  index left = rows.count() < count ? rows.count() : count;
  const Stored* row = X.data + rows.begin * X.row_stride;
  for (rows.begin += left; left > 0; --left, row += X.row_stride)
    for (index c = 0; c < X.cols; c += 64 / index(sizeof(Stored)))
      __builtin_prefetch(row + c, 0, 2);
}

/// Matrices of Stored, read as T.
template <class T, class Stored>
inline constexpr row_functions<T> strided_rows{
    &pack_strided<T, Stored>, &strided_in_place<T, Stored>, &copy_strided<T, Stored>,
    &prefetch_strided<T, Stored>};

/// `wanted` rows, `padded` columns: in place where they lie so, else a copy in the buffer, zeros
/// behind the columns and the rows.
template <class T>
inline row_block<T> padded_rows(const row_source<T>& X, range rows, index padded, index wanted,
                                T* buffer) {
  const index count = rows.count();
  if (X.cols == padded && count == wanted) {
    const row_block<T> block = X.read->in_place(X, rows);
    if (block.data) return block;
  }
  X.read->copy(X, rows, padded, buffer);
  for (index x = count * padded; x < wanted * padded; ++x) buffer[x] = T(0);
  return {buffer, padded};
}

/// Rows that are needed next, prefetched a few at a time among products: all at once would exhaust
/// the miss buffers, and reading them on demand costs 5 % at d = 128.
template <class T>
struct rows_ahead {
  const row_source<T>* source = nullptr;
  range rows{};
  index at_once = 1;
  index apart = 1;  // products from one time to the next
  index wait = 0;

  /// Spreads them over so many products, but no less at a time than eight lines: a call for each
  /// line costs more than it gains.
  void spread(index products) {
    const index each = products > 0 ? ceil_div(rows.count(), products) : 0;
    const index lines = each * ceil_div(source->cols * index(sizeof(T)), index(64));
    apart = lines > 0 && lines < 8 ? 8 / lines : 1;
    at_once = each * apart;
    wait = 0;
  }
  SOFTLOOK_ALWAYS_INLINE void prefetch() {
    if (--wait > 0 || at_once == 0 || rows.begin >= rows.end) return;
    wait = apart;
    source->read->prefetch(*source, rows, at_once);
  }
};
