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
    const std::int32_t row = b.first_row + r * b.row_step;
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
  const range rows{b.first_row, b.first_row + (b.rows - 1) * index(b.row_step) + 1};
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

/// A matrix of all queries and keys as rows to be added, as relative_rows<T> are.
template <class T>
struct matrix_rows {
  const T* data;
  index row_stride, col_stride;
  explicit matrix_rows(const matrix_view<T>& B)
      : data(B.data), row_stride(B.row_stride), col_stride(B.col_stride) {}

  static constexpr int most_together = lanes<T>;
  [[nodiscard]] bool queries_beside() const { return row_stride == 1; }
  [[nodiscard]] bool keys_beside() const { return col_stride == 1; }
  [[nodiscard]] SOFTLOOK_ALWAYS_INLINE const T* at(std::int32_t query, std::int32_t key) const {
    return data + query * row_stride + key * col_stride;
  }
};
template <class T>
matrix_rows<T> rows_to_add(const matrix_view<T>& B) {
  return matrix_rows<T>(B);
}
template <class Rows>
const Rows& rows_to_add(const Rows& rows) {
  return rows;
}

/// S = (S + at(query, key))·unit, which a loop over scores would read a number at a time.
template <class T, bool QueriesInLanes, class Rows>
__attribute__((noinline)) inline void add_rows(const Rows& rows, T* S, const edit_block& b,
                                               T unit) {
  constexpr int most = Rows::most_together, group = lanes<T> < most ? lanes<T> : most;
  typedef T group_vector __attribute__((vector_size(group * sizeof(T))));
  const index width = b.vectors * index(lanes<T>);
  std::int32_t r = 0;
  if (QueriesInLanes && b.row_step == 1 && rows.keys_beside() && width % 4 == 0)
    for (index l = 0; l < width; l += 4)
      for (r = 0; r + 4 <= b.rows; r += 4) {
        const T* from[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) from[k] = rows.at(b.lanes[l + k], b.first_row + r);
        add_transposed4<T>(from, S + r * b.stride + l, b.stride, row4<T>{unit, unit, unit, unit});
      }
  const bool beside = QueriesInLanes ? rows.queries_beside() : rows.keys_beside();
  for (index l = 0; l < width; l += group) {
    const std::int32_t* const lane = b.lanes + l;
    bool together = beside;
    for (int k = 1; k < group; ++k) together = together && lane[k] == lane[0] + k;
    for (std::int32_t row = r; row < b.rows; ++row) {
      T* const at = S + row * b.stride + l;
      const auto from = [&](int k) SOFTLOOK_STAMP_LAMBDA {
        const std::int32_t other = b.first_row + row * b.row_step;
        return QueriesInLanes ? rows.at(lane[k], other) : rows.at(other, lane[k]);
      };
      if (together) {
        group_vector s, x;
        __builtin_memcpy(&s, at, sizeof s);
        __builtin_memcpy(&x, from(0), sizeof x);
        s = (s + x) * unit;
        __builtin_memcpy(at, &s, sizeof s);
      } else {
        for (int k = 0; k < group; ++k) at[k] = (at[k] + *from(k)) * unit;
      }
    }
  }
}

template <class T, class Transform, bool QueriesInLanes>
inline void apply_transform(const void* transform, T* S, const edit_block& b, problem p,
                            T score_unit) {
  const Transform& f = *static_cast<const Transform*>(transform);
  if constexpr (requires {
                  {
                    rows_to_add(f.added(p)).at(b.first_row, b.first_row)
                  } -> std::same_as<const T*>;
                })
    add_rows<T, QueriesInLanes>(rows_to_add(f.added(p)), S, b, score_unit);
  else
    transform_scores<T, QueriesInLanes>(f, S, b, p, score_unit);
}

template <class T, class Mask, bool QueriesInLanes>
inline void forbid(const void* mask, T* S, const edit_block& b, problem p) {
  mask_block<T, QueriesInLanes>(*static_cast<const Mask*>(mask), S, b, p);
}
