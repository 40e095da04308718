// What the compiler makes of the operators of vectors, for the sets that need no instruction of
// their own for it. Included by such a set after spread() and fused().

#define SOFTLOOK_STAMP_RECIPROCAL 0
#define SOFTLOOK_STAMP_SCALES 0

SOFTLOOK_ALWAYS_INLINE float_vector negative_fused(float_vector a, float_vector b, float_vector c) {
  return fused(-a, b, c);
}
SOFTLOOK_ALWAYS_INLINE double_vector negative_fused(double_vector a, double_vector b,
                                                    double_vector c) {
  return fused(-a, b, c);
}
SOFTLOOK_ALWAYS_INLINE float_vector larger(float_vector a, float_vector b) { return a > b ? a : b; }
SOFTLOOK_ALWAYS_INLINE double_vector larger(double_vector a, double_vector b) {
  return a > b ? a : b;
}
template <class V>
SOFTLOOK_ALWAYS_INLINE bool any_greater(V a, V b) {
  const auto greater = a > b;
  bool any = false;
  for (int l = 0; l < int(sizeof(V) / sizeof(greater[0])); ++l) any |= greater[l] != 0;
  return any;
}
