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

template <class T, class Transform, bool QueriesInLanes>
inline void apply_transform(const void* transform, T* S, const edit_block& b, problem p,
                            T score_unit) {
  transform_scores<T, QueriesInLanes>(*static_cast<const Transform*>(transform), S, b, p,
                                      score_unit);
}

template <class T, class Mask, bool QueriesInLanes>
inline void forbid(const void* mask, T* S, const edit_block& b, problem p) {
  mask_block<T, QueriesInLanes>(*static_cast<const Mask*>(mask), S, b, p);
}
