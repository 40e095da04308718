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
                                                       T factor) {
  const Transform transform = given;
  const problem p = p_given;
  for_each_score<T, QueriesInLanes>(
      S, b, [&](T s, std::int32_t i, std::int32_t j) SOFTLOOK_STAMP_LAMBDA -> T {
        return T(transform(s, i, j, p)) * factor;
      });
}

template <class T, bool QueriesInLanes, class Mask>
__attribute__((noinline)) inline void mask_scores(const Mask& given, T* S, const edit_block& b,
                                                  problem p_given) {
  const auto mask = prepared(given);
  const problem p = p_given;
  for_each_score<T, QueriesInLanes>(
      S, b, [&](T s, std::int32_t i, std::int32_t j) SOFTLOOK_STAMP_LAMBDA -> T {
        return mask.allows(i, j, p) ? s : -infinity<T>;
      });
}

template <class T, class Transform, bool QueriesInLanes>
inline void apply_transform(const void* transform, T* S, const edit_block& b, problem p, T factor) {
  transform_scores<T, QueriesInLanes>(*static_cast<const Transform*>(transform), S, b, p, factor);
}

template <class T, class Mask, bool QueriesInLanes>
inline void forbid(const void* mask, T* S, const edit_block& b, problem p) {
  mask_scores<T, QueriesInLanes>(*static_cast<const Mask*>(mask), S, b, p);
}

/// Scores of private keys see no transform, only what is multiplied in behind them.
template <class T>
inline void scale_scores(T* S, index count, T factor) {
  for (index x = 0; x < count; ++x) S[x] = S[x] * factor;
}

/// Transforms and, where `masked`, masks the scores of a panel of keys (rows, from `first_key` of
/// the call on) and a register tile of queries (lanes, from row `first_query` of the call on, `used`
/// of them in use).
template <class T, bool Additive>
__attribute__((noinline)) inline void edit_panel(const forward_args<T, Additive>& a, T* S,
                                                 const edit_block& b, index first_key,
                                                 range queries, bool masked) {
  const call_frame& f = *a.frame;
  const policy_calls<T>& p = *a.policy;
  const index shared = f.shared_keys(a.keys.rows) - first_key;
  edit_block given = b;
  given.first_row = std::int32_t(f.first_key + first_key);
  if (shared < b.rows) given.rows = std::int32_t(shared < 0 ? 0 : shared);
  if (p.transform) {
    if (given.rows > 0)
      p.transform.apply_queries(p.transform.transform, S, given, a.whole, a.factor);
    scale_scores(S + given.rows * b.stride, (b.rows - given.rows) * b.stride, a.factor);
  }
  if (!masked) return;
  if (given.rows > 0) p.mask.forbid_queries(p.mask.mask, S, given, a.whole);
  for (index i = queries.begin; f.key_begin && i < queries.end; ++i) {
    T* const at = S + (i - queries.begin);
    for (index r = 0; r < b.rows; ++r)
      if (first_key + r < f.key_begin[i] || first_key + r >= f.key_end[i])
        at[r * b.stride] = -infinity<T>;
  }
}
