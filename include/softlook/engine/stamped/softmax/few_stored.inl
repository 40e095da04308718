// A single query with keys and values of shorter numbers, which are converted in registers: see
// few_queries.inl.

/// How far ahead rows are asked for: what a core reads while memory answers, but not much of a
/// page, because the next one lies elsewhere.
inline constexpr index rows_ahead_bytes = 8192;

/// From a number of a row to the one of a later row that is asked for beside it.
template <class Stored>
SOFTLOOK_ALWAYS_INLINE index asked_ahead(const stored_run<Stored>& run, index columns) {
  const index of_page = run.rows / 4 < 16 ? 16 : run.rows / 4;
  const index rows = rows_ahead_bytes / ((columns > 0 ? columns : 1) * index(sizeof(Stored)));
  // Unsigned: the stride of a single row may be any number.
  return index(std::uintptr_t(rows < of_page ? rows : of_page) * std::uintptr_t(run.row_stride));
}

template <class T, class Stored, bool Paged>
void dot_stored(const row_source<T>& source, range rows, const T* q, T* scores) {
  constexpr index n = lanes<T>, of_line = 64 / (n * index(sizeof(Stored)));
  const index vectors = source.cols / n;
  for (index r = rows.begin; r < rows.end;) {
    const stored_run<Stored> run = first_run<T, Stored, Paged>(source, {r, rows.end});
    const Stored* row = run.data;
    const index ahead = asked_ahead(run, source.cols);
    for (index j = 0; j < run.rows; j += n) {
      vec<T> sum[n];
      const index count = run.rows - j < n ? run.rows - j : n;
      for (index k = count; k < n; ++k) sum[k] = vec<T>{};
#pragma GCC unroll 1
      for (index k = 0; k < count; ++k, row += run.row_stride) {
        vec<T> s = {};
        for (index v = 0; v < vectors; v += of_line) {
          prefetch(row + v * n, ahead);
          if (v + of_line <= vectors) {
#pragma GCC unroll 16
            for (index u = v; u < v + of_line; ++u)
              s = fma(load(q + u * n), stored_as(row + u * n), s);
          } else {
#pragma GCC unroll 1
            for (index u = v; u < vectors; ++u) s = fma(load(q + u * n), stored_as(row + u * n), s);
          }
        }
        if constexpr (sizeof(Stored) == 1)
          s = s * broadcast(T(run.scales[(j + k) * run.scale_stride]));
        sum[k] = s;
      }
      const vec<T> all = sum_each<T, 1>(sum);
      T* const to = scores + (r - rows.begin) + j;
      if (count == n)
        store(to, all);
      else
        __builtin_memcpy(to, &all, std::size_t(count) * sizeof(T));
    }
    r += run.rows;
  }
}

/// `Vectors` vectors of columns.
template <class T, int Vectors, class Stored>
SOFTLOOK_ALWAYS_INLINE void add_stored_columns(const stored_run<Stored>& run, index column,
                                               index ahead, const T* weights, T* output) {
  vec<T> sum[Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) sum[v] = load(output + column + v * lanes<T>);
  const Stored* row = run.data + column;
#pragma GCC unroll 1
  for (index k = 0; k < run.rows; ++k, row += run.row_stride) {
    T p = weights[k];
    if constexpr (sizeof(Stored) == 1) p = p * T(run.scales[k * run.scale_stride]);
    const vec<T> weight = broadcast(p);
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      if (v * lanes<T> * int(sizeof(Stored)) % 64 == 0) prefetch(row + v * lanes<T>, ahead);
      sum[v] = fma(weight, stored_as(row + v * lanes<T>), sum[v]);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) store(output + column + v * lanes<T>, sum[v]);
}

template <class T, class Stored, bool Paged>
void add_stored(const row_source<T>& source, range rows, const T* weights, T* output) {
  for (index r = rows.begin; r < rows.end;) {
    const stored_run<Stored> run = first_run<T, Stored, Paged>(source, {r, rows.end});
    const T* const p = weights + (r - rows.begin);
    const index ahead = asked_ahead(run, source.cols);
    index c = 0;
    for (; c + 8 * lanes<T> <= source.cols; c += 8 * lanes<T>)
      add_stored_columns<T, 8>(run, c, ahead, p, output);
    for (; c + 4 * lanes<T> <= source.cols; c += 4 * lanes<T>)
      add_stored_columns<T, 4>(run, c, ahead, p, output);
    for (; c < source.cols; c += lanes<T>) add_stored_columns<T, 1>(run, c, ahead, p, output);
    r += run.rows;
  }
}

template <class T, class Stored, bool Paged>
[[nodiscard]] constexpr row_functions<T> row_functions_of() {
  row_functions<T> f{.pack = &pack_stored<T, Stored, Paged>,
                     .in_place = &stored_in_place<T, Stored, Paged>,
                     .copy = &copy_stored<T, Stored, Paged>,
                     .prefetch = &prefetch_stored<T, Stored, Paged>};
  if constexpr (!std::is_same_v<T, Stored>) {
    f.dot = &dot_stored<T, Stored, Paged>;
    f.add = &add_stored<T, Stored, Paged>;
  }
  return f;
}
template <class T, class Stored, bool Paged>
inline constexpr row_functions<T> stored_rows = row_functions_of<T, Stored, Paged>();
