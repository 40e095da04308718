// Transforms and mask over a block of scores. The policies are copied to locals and positions are
// std::int32_t: only then does gcc vectorise the inner loop over a fixed number of lanes at -O2.

template <class T, class Transform, bool Masked, bool QueriesInLanes, class Mask>
inline void edit_rows(const Transform& transform_in, const Mask& mask_in, T* S, const edit_block& b,
                      problem p_in, T factor) {
  const Transform transform = transform_in;
  const Mask mask = mask_in;
  const problem p = p_in;
  constexpr int count = lanes<T>;
  for (std::int32_t r = 0; r < b.rows; ++r) {
    const std::int32_t row = b.first_row + r;
    T* __restrict at = S + r * b.stride;
    const std::int32_t* __restrict lane = b.lanes;
    for (std::int32_t v = 0; v < b.vectors; ++v, at += count, lane += count) {
      for (int l = 0; l < count; ++l) {
        const std::int32_t i = QueriesInLanes ? lane[l] : row, j = QueriesInLanes ? row : lane[l];
        T s = T(transform(at[l], i, j, p)) * factor;
        if constexpr (Masked) s = mask.allows(i, j, p) ? s : -infinity<T>;
        at[l] = s;
      }
    }
  }
}

template <class T, class Policies, bool QueriesInLanes>
inline void edit(const void* policies, T* S, const edit_block& b, problem p, T factor) {
  const Policies& both = *static_cast<const Policies*>(policies);
  using transform = decltype(both.transform);
  using mask = decltype(both.mask);
  if (b.masked)
    edit_rows<T, transform, true, QueriesInLanes, mask>(both.transform, both.mask, S, b, p, factor);
  else
    edit_rows<T, transform, false, QueriesInLanes, mask>(both.transform, both.mask, S, b, p,
                                                         factor);
}
