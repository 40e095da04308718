// Derivatives of transforms, over a block of scores.

/// S = ∂f/∂s of a chain of transforms at S; lanes are queries.
template <class T, class Transform>
void replace_by_slopes(const void* transform, T* S, const edit_block& b, problem p_given, T) {
  const Transform f = *static_cast<const Transform*>(transform);
  const problem p = p_given;
  for_each_score<T, true>(S, b,
                          [&](T s, std::int32_t i, std::int32_t j)
                              SOFTLOOK_STAMP_LAMBDA -> T { return slope_of_score(f, s, i, j, p); });
}
