// Transforms, then the mask, over a block of scores. The policies are copied to locals and
// positions are std::int32_t: only then does gcc vectorise the inner loop over a fixed number of
// lanes at -O2.
//
// Two passes on purpose: in one, the masked and the unmasked form of the loop would be two
// compilations of the user's arithmetic, contracted into FMAs differently, and a score's bits would
// depend on whether its tile is partial.

/// f(score, i, j) for every score of a block.
template <class T, bool QueriesInLanes, class F>
SOFTLOOK_ALWAYS_INLINE void for_each_score(T* S, const edit_block& b, const F& f) {
  constexpr int count = lanes<T>;
  for (std::int32_t r = 0; r < b.rows; ++r) {
    const std::int32_t row = b.first_row + r;
    T* __restrict at = S + r * b.stride;
    const std::int32_t* __restrict lane = b.lanes;
    for (std::int32_t v = 0; v < b.vectors; ++v, at += count, lane += count)
      for (int l = 0; l < count; ++l)
        at[l] = QueriesInLanes ? f(at[l], lane[l], row) : f(at[l], row, lane[l]);
  }
}

template <class T, bool QueriesInLanes, class Transform>
__attribute__((noinline)) inline void transform_scores(const Transform& given, T* S,
                                                       const edit_block& b, problem p_given,
                                                       T score_unit) {
  const Transform transform = given;
  const problem p = p_given;
  for_each_score<T, QueriesInLanes>(
      S, b, [&](T s, std::int32_t i, std::int32_t j) SOFTLOOK_STAMP_LAMBDA -> T {
        return T(transform(s, i, j, p)) * score_unit;
      });
}

template <class T, bool QueriesInLanes, class Mask>
__attribute__((noinline)) inline void mask_scores(const Mask& given, T* S, const edit_block& b,
                                                  problem p_given) {
  const auto mask = lookup_form(given);
  const problem p = p_given;
  for_each_score<T, QueriesInLanes>(
      S, b, [&](T s, std::int32_t i, std::int32_t j) SOFTLOOK_STAMP_LAMBDA -> T {
        return mask.allows(i, j, p) ? s : -infinity<T>;
      });
}

/// How much of a block a mask allows; `partial` where its positions are not known.
template <bool QueriesInLanes, class Mask>
inline coverage coverage_of_block(const Mask& mask, const edit_block& b, problem p) {
  if (b.lane_span.empty()) return coverage::partial;
  const range rows{b.first_row, b.first_row + b.rows};
  return QueriesInLanes ? mask.coverage_of(b.lane_span, rows, p)
                        : mask.coverage_of(rows, b.lane_span, p);
}

/// −∞ where a mask forbids. Of two masks that are joined mostly one decides about a block: it is
/// asked alone, in a loop that is also that of the mask by itself.
template <class T, bool QueriesInLanes, class Mask>
inline void mask_block(const Mask& mask, T* S, const edit_block& b, problem p) {
  if constexpr (requires { Mask::is_intersection; }) {
    if (coverage_of_block<QueriesInLanes>(mask.a, b, p) != coverage::full)
      mask_block<T, QueriesInLanes>(mask.a, S, b, p);
    if (coverage_of_block<QueriesInLanes>(mask.b, b, p) != coverage::full)
      mask_block<T, QueriesInLanes>(mask.b, S, b, p);
  } else if constexpr (requires { Mask::is_union; }) {
    const coverage of_a = coverage_of_block<QueriesInLanes>(mask.a, b, p);
    const coverage of_b = coverage_of_block<QueriesInLanes>(mask.b, b, p);
    if (of_a == coverage::full || of_b == coverage::full) return;
    if (of_a == coverage::none) return mask_block<T, QueriesInLanes>(mask.b, S, b, p);
    if (of_b == coverage::none) return mask_block<T, QueriesInLanes>(mask.a, S, b, p);
    mask_scores<T, QueriesInLanes>(mask, S, b, p);
  } else {
    mask_scores<T, QueriesInLanes>(mask, S, b, p);
  }
}

/// S = (S + B)·unit of four rows of keys and four queries, whose rows of B lie keys after keys.
template <class T>
SOFTLOOK_ALWAYS_INLINE void add_transposed4(const T* const (&from)[4], T* S, index stride,
                                            const row4<T>& unit) {
  row4<T> x[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) __builtin_memcpy(&x[k], from[k], sizeof x[k]);
  transpose_rows4<T>(x);
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k, S += stride) {
    row4<T> s;
    __builtin_memcpy(&s, S, sizeof s);
    s = (s + x[k]) * unit;
    __builtin_memcpy(S, &s, sizeof s);
  }
}

/// Adds a matrix of all queries and keys, which a loop over scores would read a number at a time.
template <class T, bool QueriesInLanes>
__attribute__((noinline)) inline void add_matrix(const matrix_view<T>& B, T* S, const edit_block& b,
                                                 T unit) {
  const index width = b.vectors * index(lanes<T>);
  const row4<T> units = {unit, unit, unit, unit};
  index r = 0;
  if (QueriesInLanes && B.col_stride == 1 && width % 4 == 0)
    for (; r + 4 <= b.rows; r += 4)
      for (index l = 0; l < width; l += 4) {
        const T* from[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k)
          from[k] = B.data + b.lanes[l + k] * B.row_stride + b.first_row + r;
        add_transposed4<T>(from, S + r * b.stride + l, b.stride, units);
      }
  const bool rows_of_lanes = (QueriesInLanes ? B.row_stride : B.col_stride) == 1;
  for (index l = 0; l < width; l += lanes<T>) {
    const index first = b.lanes[l];
    bool beside = rows_of_lanes;
    for (int k = 1; k < lanes<T>; ++k) beside = beside && b.lanes[l + k] == first + k;
    for (index row = r; row < b.rows; ++row) {
      T* const at = S + row * b.stride + l;
      const index j = b.first_row + row;
      if (beside)
        store(at,
              (load(at) + load(QueriesInLanes ? &B(first, j) : &B(j, first))) * broadcast(unit));
      else
        for (int k = 0; k < lanes<T>; ++k)
          at[k] = (at[k] + (QueriesInLanes ? B(b.lanes[l + k], j) : B(j, b.lanes[l + k]))) * unit;
    }
  }
}

template <class T, class Transform, bool QueriesInLanes>
inline void apply_transform(const void* transform, T* S, const edit_block& b, problem p,
                            T score_unit) {
  const Transform& f = *static_cast<const Transform*>(transform);
  if constexpr (requires {
                  { f.added(p) } -> std::same_as<matrix_view<T>>;
                })
    add_matrix<T, QueriesInLanes>(f.added(p), S, b, score_unit);
  else
    transform_scores<T, QueriesInLanes>(f, S, b, p, score_unit);
}

template <class T, class Mask, bool QueriesInLanes>
inline void forbid(const void* mask, T* S, const edit_block& b, problem p) {
  mask_block<T, QueriesInLanes>(*static_cast<const Mask*>(mask), S, b, p);
}
