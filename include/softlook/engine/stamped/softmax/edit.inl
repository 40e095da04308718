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

template <class T, class Transform, bool QueriesInLanes>
inline void apply_transform(const void* transform, T* S, const edit_block& b, problem p,
                            T score_unit) {
  transform_scores<T, QueriesInLanes>(*static_cast<const Transform*>(transform), S, b, p,
                                      score_unit);
}

template <class T, class Mask, bool QueriesInLanes>
inline void forbid(const void* mask, T* S, const edit_block& b, problem p) {
  mask_scores<T, QueriesInLanes>(*static_cast<const Mask*>(mask), S, b, p);
}
