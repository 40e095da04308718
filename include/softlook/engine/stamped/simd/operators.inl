// What the compiler makes of the operators of vectors, for the sets that need no instruction of
// their own for it. Included by such a set after broadcast() and fma().

#define SOFTLOOK_STAMP_RECIPROCAL 0
#define SOFTLOOK_STAMP_SCALES 0

SOFTLOOK_ALWAYS_INLINE float_vector negative_fma(float_vector a, float_vector b, float_vector c) {
  return fma(-a, b, c);
}
SOFTLOOK_ALWAYS_INLINE double_vector negative_fma(double_vector a, double_vector b,
                                                  double_vector c) {
  return fma(-a, b, c);
}
SOFTLOOK_ALWAYS_INLINE float_vector max_of(float_vector a, float_vector b) { return a > b ? a : b; }
SOFTLOOK_ALWAYS_INLINE double_vector max_of(double_vector a, double_vector b) {
  return a > b ? a : b;
}
template <class V>
SOFTLOOK_ALWAYS_INLINE bool any_greater(V a, V b) {
  const auto greater = a > b;
  bool any = false;
  for (int l = 0; l < int(sizeof(V) / sizeof(greater[0])); ++l) any |= greater[l] != 0;
  return any;
}
