// Operations on vectors of 32 bytes: AVX2 and FMA.

#define SOFTLOOK_STAMP_RECIPROCAL 1
#define SOFTLOOK_STAMP_SCALES 0

// The builtins are what the intrinsics are made of: the object is the same, bit for bit, without
// the time that immintrin.h takes to compile (engine/kernels/dispatch.hpp).
#if SOFTLOOK_STAMP_BUILTINS

inline constexpr int greater_than_quiet = 30;  // _CMP_GT_OQ

SOFTLOOK_ALWAYS_INLINE float_vector broadcast(float x) {
  return float_vector{x, x, x, x, x, x, x, x};
}
SOFTLOOK_ALWAYS_INLINE double_vector broadcast(double x) { return double_vector{x, x, x, x}; }
SOFTLOOK_ALWAYS_INLINE float_vector fma(float_vector a, float_vector b, float_vector c) {
  return __builtin_ia32_vfmaddps256(a, b, c);
}
SOFTLOOK_ALWAYS_INLINE double_vector fma(double_vector a, double_vector b, double_vector c) {
  return __builtin_ia32_vfmaddpd256(a, b, c);
}
#if defined(__clang__)
SOFTLOOK_ALWAYS_INLINE float_vector negative_fma(float_vector a, float_vector b, float_vector c) {
  return __builtin_ia32_vfmaddps256(-a, b, c);
}
SOFTLOOK_ALWAYS_INLINE double_vector negative_fma(double_vector a, double_vector b,
                                                  double_vector c) {
  return __builtin_ia32_vfmaddpd256(-a, b, c);
}
#else
SOFTLOOK_ALWAYS_INLINE float_vector negative_fma(float_vector a, float_vector b, float_vector c) {
  return __builtin_ia32_vfnmaddps256(a, b, c);
}
SOFTLOOK_ALWAYS_INLINE double_vector negative_fma(double_vector a, double_vector b,
                                                  double_vector c) {
  return __builtin_ia32_vfnmaddpd256(a, b, c);
}
#endif
SOFTLOOK_ALWAYS_INLINE float_vector max_of(float_vector a, float_vector b) {
  return __builtin_ia32_maxps256(a, b);
}
SOFTLOOK_ALWAYS_INLINE double_vector max_of(double_vector a, double_vector b) {
  return __builtin_ia32_maxpd256(a, b);
}
SOFTLOOK_ALWAYS_INLINE bool any_greater(float_vector a, float_vector b) {
  return __builtin_ia32_movmskps256(__builtin_ia32_cmpps256(a, b, greater_than_quiet)) != 0;
}
SOFTLOOK_ALWAYS_INLINE bool any_greater(double_vector a, double_vector b) {
  return __builtin_ia32_movmskpd256(__builtin_ia32_cmppd256(a, b, greater_than_quiet)) != 0;
}
SOFTLOOK_ALWAYS_INLINE float_vector near_reciprocal(float_vector a) {
  return __builtin_ia32_rcpps256(a);
}
SOFTLOOK_ALWAYS_INLINE uint64_vector product_of_low_halves(uint64_vector a, uint64_vector b) {
  return (uint64_vector)__builtin_ia32_pmuludq256((int32_vector)a, (int32_vector)b);
}

#else

SOFTLOOK_ALWAYS_INLINE float_vector broadcast(float x) { return (float_vector)_mm256_set1_ps(x); }
SOFTLOOK_ALWAYS_INLINE double_vector broadcast(double x) {
  return (double_vector)_mm256_set1_pd(x);
}
SOFTLOOK_ALWAYS_INLINE float_vector fma(float_vector a, float_vector b, float_vector c) {
  return (float_vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
SOFTLOOK_ALWAYS_INLINE double_vector fma(double_vector a, double_vector b, double_vector c) {
  return (double_vector)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
SOFTLOOK_ALWAYS_INLINE float_vector negative_fma(float_vector a, float_vector b, float_vector c) {
  return (float_vector)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
SOFTLOOK_ALWAYS_INLINE double_vector negative_fma(double_vector a, double_vector b,
                                                  double_vector c) {
  return (double_vector)_mm256_fnmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
SOFTLOOK_ALWAYS_INLINE float_vector max_of(float_vector a, float_vector b) {
  return (float_vector)_mm256_max_ps((__m256)a, (__m256)b);
}
SOFTLOOK_ALWAYS_INLINE double_vector max_of(double_vector a, double_vector b) {
  return (double_vector)_mm256_max_pd((__m256d)a, (__m256d)b);
}
SOFTLOOK_ALWAYS_INLINE bool any_greater(float_vector a, float_vector b) {
  return _mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GT_OQ)) != 0;
}
SOFTLOOK_ALWAYS_INLINE bool any_greater(double_vector a, double_vector b) {
  return _mm256_movemask_pd(_mm256_cmp_pd((__m256d)a, (__m256d)b, _CMP_GT_OQ)) != 0;
}
SOFTLOOK_ALWAYS_INLINE float_vector near_reciprocal(float_vector a) {
  return (float_vector)_mm256_rcp_ps((__m256)a);
}
SOFTLOOK_ALWAYS_INLINE uint64_vector product_of_low_halves(uint64_vector a, uint64_vector b) {
  return (uint64_vector)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}

#endif
