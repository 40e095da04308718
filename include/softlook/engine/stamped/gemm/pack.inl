// Copies between matrices in memory and panels. A panel holds `width` rows side by side,
// depth-major: panel[c·width + r] = source(r, c). Keys, values and queries differ only in what is a
// row.

/// target = (source · diag(scale))ᵀ.
template <class T>
SOFTLOOK_ALWAYS_INLINE void transpose4(const T* source, index source_stride, T* target,
                                       index target_stride, const row4<T>& scale) {
  row4<T> x[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    __builtin_memcpy(&x[k], source + k * source_stride, sizeof x[k]);
    x[k] = x[k] * scale;
  }
  transpose_rows4<T>(x);
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) __builtin_memcpy(target + k * target_stride, &x[k], sizeof x[k]);
}

/// The same of the first `from` rows of the source, zeros for the others, and the first `to` rows
/// of the target; either is 1 … 4.
template <class T>
__attribute__((noinline)) inline void transpose_ragged4(const T* source, index source_stride,
                                                        T* target, index target_stride,
                                                        const row4<T>& scale, index from,
                                                        index to) {
  T block[16] = {}, transposed[16];
  for (index r = 0; r < from; ++r)
    __builtin_memcpy(block + 4 * r, source + r * source_stride, sizeof scale);
  transpose4(block, 4, transposed, 4, scale);
  for (index r = 0; r < to; ++r)
    __builtin_memcpy(target + r * target_stride, transposed + 4 * r, sizeof scale);
}

#if SOFTLOOK_STAMP_BYTES >= 32
/// Four rows of eight, transposed into a panel of four.
SOFTLOOK_ALWAYS_INLINE void transpose4x8(const float* source, index stride, float* panel) {
  typedef float row __attribute__((vector_size(32)));
  row a, b, c, d;
  __builtin_memcpy(&a, source, sizeof a);
  __builtin_memcpy(&b, source + stride, sizeof b);
  __builtin_memcpy(&c, source + 2 * stride, sizeof c);
  __builtin_memcpy(&d, source + 3 * stride, sizeof d);
  const row ab_low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
  const row ab_high = __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
  const row cd_low = __builtin_shufflevector(c, d, 0, 8, 1, 9, 4, 12, 5, 13);
  const row cd_high = __builtin_shufflevector(c, d, 2, 10, 3, 11, 6, 14, 7, 15);
  const row r04 = __builtin_shufflevector(ab_low, cd_low, 0, 1, 8, 9, 4, 5, 12, 13);
  const row r15 = __builtin_shufflevector(ab_low, cd_low, 2, 3, 10, 11, 6, 7, 14, 15);
  const row r26 = __builtin_shufflevector(ab_high, cd_high, 0, 1, 8, 9, 4, 5, 12, 13);
  const row r37 = __builtin_shufflevector(ab_high, cd_high, 2, 3, 10, 11, 6, 7, 14, 15);
  const row r01 = __builtin_shufflevector(r04, r15, 0, 1, 2, 3, 8, 9, 10, 11);
  const row r23 = __builtin_shufflevector(r26, r37, 0, 1, 2, 3, 8, 9, 10, 11);
  const row r45 = __builtin_shufflevector(r04, r15, 4, 5, 6, 7, 12, 13, 14, 15);
  const row r67 = __builtin_shufflevector(r26, r37, 4, 5, 6, 7, 12, 13, 14, 15);
  __builtin_memcpy(panel, &r01, sizeof r01);
  __builtin_memcpy(panel + 8, &r23, sizeof r23);
  __builtin_memcpy(panel + 16, &r45, sizeof r45);
  __builtin_memcpy(panel + 24, &r67, sizeof r67);
}
#endif

/// Prefetches four rows. Rows far apart are more streams than the processor follows by itself.
template <class T>
SOFTLOOK_ALWAYS_INLINE void prefetch_rows(const T* first, index row_stride, index depth) {
  for (index r = 0; r < 4; ++r)
    for (index c = 0; c < depth; c += 64 / index(sizeof(T)))
      prefetch(first + r * row_stride + c, 0);
}

#if SOFTLOOK_STAMP_BYTES >= 32
/// target = (source · diag(scale))ᵀ of eight rows and eight columns: half of the instructions of
/// transpose4(). Rows r and r + 4 share a vector, whose halves are transposed side by side.
SOFTLOOK_ALWAYS_INLINE void transpose8(const float* source, index source_stride, float* target,
                                       index target_stride, float scale) {
  typedef float row __attribute__((vector_size(32)));
  const row s = {scale, scale, scale, scale, scale, scale, scale, scale};
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    row x[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      row4<float> low, high;
      __builtin_memcpy(&low, source + k * source_stride + 4 * half, sizeof low);
      __builtin_memcpy(&high, source + (k + 4) * source_stride + 4 * half, sizeof high);
      x[k] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7) * s;
    }
    const row ab_low = __builtin_shufflevector(x[0], x[1], 0, 8, 1, 9, 4, 12, 5, 13);
    const row ab_high = __builtin_shufflevector(x[0], x[1], 2, 10, 3, 11, 6, 14, 7, 15);
    const row cd_low = __builtin_shufflevector(x[2], x[3], 0, 8, 1, 9, 4, 12, 5, 13);
    const row cd_high = __builtin_shufflevector(x[2], x[3], 2, 10, 3, 11, 6, 14, 7, 15);
    x[0] = __builtin_shufflevector(ab_low, cd_low, 0, 1, 8, 9, 4, 5, 12, 13);
    x[1] = __builtin_shufflevector(ab_low, cd_low, 2, 3, 10, 11, 6, 7, 14, 15);
    x[2] = __builtin_shufflevector(ab_high, cd_high, 0, 1, 8, 9, 4, 5, 12, 13);
    x[3] = __builtin_shufflevector(ab_high, cd_high, 2, 3, 10, 11, 6, 7, 14, 15);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k)
      __builtin_memcpy(target + (4 * half + k) * target_stride, &x[k], sizeof x[k]);
  }
}
#endif

/// Packs as many rows as can be transposed eight at a time, and returns how many.
template <class T>
SOFTLOOK_ALWAYS_INLINE index pack_eights([[maybe_unused]] const T* source,
                                         [[maybe_unused]] index rows, [[maybe_unused]] index depth,
                                         [[maybe_unused]] index stride,
                                         [[maybe_unused]] index width, [[maybe_unused]] T scale,
                                         [[maybe_unused]] T* panel) {
  index r = 0;
#if SOFTLOOK_STAMP_BYTES >= 32
  if constexpr (sizeof(T) == 4)
    if (width >= 8)
      for (; r + 8 <= rows; r += 8) {
        const T* const from = source + r * stride;
        if (r + 12 <= rows) prefetch_rows(from + 8 * stride, stride, depth);
        if (r + 16 <= rows) prefetch_rows(from + 12 * stride, stride, depth);
        index c = 0;
        for (; c + 8 <= depth; c += 8)
          transpose8(from + c, stride, panel + c * width + r, width, scale);
        for (; c < depth; ++c)
          for (index k = 0; k < 8; ++k) panel[c * width + r + k] = from[k * stride + c] * scale;
      }
#endif
  return r;
}

/// Transposes as many columns of four rows into a panel of four as can be done eight at a time, and
/// returns how many. Half of the instructions of transpose4(), which can do all.
template <class T>
SOFTLOOK_ALWAYS_INLINE index transpose_eights([[maybe_unused]] const T* source,
                                              [[maybe_unused]] index stride,
                                              [[maybe_unused]] index depth,
                                              [[maybe_unused]] T* panel) {
  index c = 0;
#if SOFTLOOK_STAMP_BYTES >= 32
  if constexpr (sizeof(T) == 4)
    for (; c + 8 <= depth; c += 8) transpose4x8(source + c, stride, panel + 4 * c);
#endif
  return c;
}

/// One panel of `width` rows (a multiple of 4) from `rows` ≤ width rows; the rest is zero. A matrix
/// without columns may have no memory, and then no row is asked for its address.
template <class T>
__attribute__((noinline)) inline void pack_panel(const T* source, index rows, index depth,
                                                 index row_stride, index col_stride, index width,
                                                 T scale, T* panel) {
  if (depth == 0) return;
  using row = row4<T>;
  const row s = {scale, scale, scale, scale};
  const index whole_rows = rows / 4 * 4, whole_depth = depth / 4 * 4;
  index r = 0;
  // At once: a few zeros for each column are a call of memset each.
  if (rows < width) __builtin_memset(panel, 0, std::size_t(depth * width) * sizeof(T));
  if (col_stride == 1) {
    r = pack_eights(source, rows, depth, row_stride, width, scale, panel);
    for (; r < whole_rows; r += 4) {
      const T* from = source + r * row_stride;
      if (r + 8 <= rows) prefetch_rows(from + 4 * row_stride, row_stride, depth);
      index c = width == 4 && scale == 1 ? transpose_eights(from, row_stride, depth, panel) : 0;
      for (; c < whole_depth; c += 4)
        transpose4(from + c, row_stride, panel + c * width + r, width, s);
      for (c = whole_depth; c < depth; ++c)
        for (index k = 0; k < 4; ++k) panel[c * width + r + k] = from[k * row_stride + c] * scale;
    }
    if (r < rows && r + 4 <= width) {
      const T* from = source + r * row_stride;
      for (index c = 0; c < whole_depth; c += 4)
        transpose_ragged4(from + c, row_stride, panel + c * width + r, width, s, rows - r,
                          index(4));
      for (index c = whole_depth; c < depth; ++c)
        for (index k = 0; k < rows - r; ++k)
          panel[c * width + r + k] = from[k * row_stride + c] * scale;
      return;
    }
  } else if (row_stride == 1) {
    for (index c = 0; c < depth; ++c)
      for (index q = 0; q < whole_rows; q += 4) {
        row x;
        __builtin_memcpy(&x, source + c * col_stride + q, sizeof x);
        x = x * s;
        __builtin_memcpy(panel + c * width + q, &x, sizeof x);
      }
    r = whole_rows;
  }
  for (; r < rows; ++r)
    for (index c = 0; c < depth; ++c)
      panel[c * width + r] = source[r * row_stride + c * col_stride] * scale;
}

/// Rows [0, rows) cut into panels of `width`, each `depth` deep; panels follow one another.
template <class T>
inline void pack_panels(const T* source, index rows, index depth, index row_stride,
                        index col_stride, index width, T* panels) {
  if (depth == 0) return;
  for (index r = 0; r < rows; r += width)
    pack_panel(source + r * row_stride, rows - r < width ? rows - r : width, depth, row_stride,
               col_stride, width, T(1), panels + r * depth);
}

/// Where a row begins. A matrix without columns may have no memory, and then none of its rows has.
template <class Element>
SOFTLOOK_ALWAYS_INLINE Element* row_of(const strided_view<Element>& X, index row) {
  return X.cols > 0 ? X.data + row * X.row_stride : X.data;
}

/// A panel back to a matrix: target(r, c) = panel[c·width + r] · scale[r], or without a scale.
template <class T>
__attribute__((noinline)) inline void unpack_panel(const T* panel, index width, T* target,
                                                   index rows, index depth, index row_stride,
                                                   index col_stride, const T* scale = nullptr) {
  if (depth == 0) return;
  const index whole_depth = col_stride == 1 ? depth / 4 * 4 : 0;
  index done = 0;
  for (index r = 0; r < rows && r + 4 <= width && whole_depth > 0; done = r += 4) {
    row4<T> s = {T(1), T(1), T(1), T(1)};
    if (scale) __builtin_memcpy(&s, scale + r, sizeof s);
    if (r + 8 <= rows) prefetch_rows(target + (r + 4) * row_stride, row_stride, depth);
    const index left = rows - r;
    if (left >= 4)
      for (index c = 0; c < whole_depth; c += 4)
        transpose4(panel + c * width + r, width, target + r * row_stride + c, row_stride, s);
    else
      for (index c = 0; c < whole_depth; c += 4)
        transpose_ragged4(panel + c * width + r, width, target + r * row_stride + c, row_stride, s,
                          index(4), left);
  }
  for (index c = 0; c < depth; ++c)
    for (index r = c < whole_depth ? done : 0; r < rows; ++r)
      target[r * row_stride + c * col_stride] = panel[c * width + r] * (scale ? scale[r] : T(1));
}
