// Operations on vectors of 64 bytes: AVX-512 F, DQ, BW and VL.

#define SOFTLOOK_STAMP_RECIPROCAL 1
#define SOFTLOOK_STAMP_SCALES 1

// The builtins are what the intrinsics are made of: the object is the same, bit for bit, without
// the time that immintrin.h takes to compile (engine/kernels/dispatch.hpp).
#if SOFTLOOK_STAMP_BUILTINS

inline constexpr int current_rounding = 4;     // _MM_FROUND_CUR_DIRECTION
inline constexpr int greater_than_quiet = 30;  // _CMP_GT_OQ
inline constexpr int not_less = 21;            // _CMP_NLT_UQ
inline constexpr int nearest_half = 16 + 8;    // of 2^-1, _MM_FROUND_NO_EXC
inline constexpr std::uint16_t all_floats = 0xffff;
inline constexpr std::uint8_t all_doubles = 0xff;

SOFTLOOK_ALWAYS_INLINE float_vector broadcast(float x) {
  return float_vector{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}
SOFTLOOK_ALWAYS_INLINE double_vector broadcast(double x) {
  return double_vector{x, x, x, x, x, x, x, x};
}
SOFTLOOK_ALWAYS_INLINE float_vector fma(float_vector a, float_vector b, float_vector c) {
  return __builtin_ia32_vfmaddps512_mask(a, b, c, all_floats, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE double_vector fma(double_vector a, double_vector b, double_vector c) {
  return __builtin_ia32_vfmaddpd512_mask(a, b, c, all_doubles, current_rounding);
}
#if defined(__clang__)
SOFTLOOK_ALWAYS_INLINE float_vector negative_fma(float_vector a, float_vector b, float_vector c) {
  return __builtin_ia32_vfmaddps512_mask(-a, b, c, all_floats, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE double_vector negative_fma(double_vector a, double_vector b,
                                                  double_vector c) {
  return __builtin_ia32_vfmaddpd512_mask(-a, b, c, all_doubles, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE float_vector max_of(float_vector a, float_vector b) {
  return __builtin_ia32_maxps512(a, b, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE double_vector max_of(double_vector a, double_vector b) {
  return __builtin_ia32_maxpd512(a, b, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE uint64_vector product_of_low_halves(uint64_vector a, uint64_vector b) {
  return (uint64_vector)__builtin_ia32_pmuludq512((int32_vector)a, (int32_vector)b);
}
#else
SOFTLOOK_ALWAYS_INLINE float_vector negative_fma(float_vector a, float_vector b, float_vector c) {
  return __builtin_ia32_vfnmaddps512_mask(a, b, c, all_floats, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE double_vector negative_fma(double_vector a, double_vector b,
                                                  double_vector c) {
  return __builtin_ia32_vfnmaddpd512_mask(a, b, c, all_doubles, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE float_vector max_of(float_vector a, float_vector b) {
  return __builtin_ia32_maxps512_mask(a, b, float_vector{}, all_floats, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE double_vector max_of(double_vector a, double_vector b) {
  return __builtin_ia32_maxpd512_mask(a, b, double_vector{}, all_doubles, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE uint64_vector product_of_low_halves(uint64_vector a, uint64_vector b) {
  typedef long long int64s __attribute__((vector_size(vector_bytes)));
  return (uint64_vector)__builtin_ia32_pmuludq512_mask((int32_vector)a, (int32_vector)b, int64s{},
                                                       all_doubles);
}
#endif
SOFTLOOK_ALWAYS_INLINE bool any_greater(float_vector a, float_vector b) {
  return __builtin_ia32_cmpps512_mask(a, b, greater_than_quiet, all_floats, current_rounding) != 0;
}
SOFTLOOK_ALWAYS_INLINE bool any_greater(double_vector a, double_vector b) {
  return __builtin_ia32_cmppd512_mask(a, b, greater_than_quiet, all_doubles, current_rounding) != 0;
}
SOFTLOOK_ALWAYS_INLINE float_vector near_reciprocal(float_vector a) {
  return __builtin_ia32_rcp14ps512_mask(a, float_vector{}, all_floats);
}
SOFTLOOK_ALWAYS_INLINE float_vector round_to_halves(float_vector x) {
  return __builtin_ia32_rndscaleps_mask(x, nearest_half, float_vector{}, all_floats,
                                        current_rounding);
}
SOFTLOOK_ALWAYS_INLINE double_vector round_to_halves(double_vector x) {
  return __builtin_ia32_rndscalepd_mask(x, nearest_half, double_vector{}, all_doubles,
                                        current_rounding);
}
SOFTLOOK_ALWAYS_INLINE float_vector scaled_from(float_vector x, float_vector least, float_vector p,
                                                float_vector n) {
  const auto some = __builtin_ia32_cmpps512_mask(x, least, not_less, all_floats, current_rounding);
  return __builtin_ia32_scalefps512_mask(p, n, float_vector{}, some, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE double_vector scaled_from(double_vector x, double_vector least,
                                                 double_vector p, double_vector n) {
  const auto some = __builtin_ia32_cmppd512_mask(x, least, not_less, all_doubles, current_rounding);
  return __builtin_ia32_scalefpd512_mask(p, n, double_vector{}, some, current_rounding);
}

#else

SOFTLOOK_ALWAYS_INLINE float_vector broadcast(float x) { return (float_vector)_mm512_set1_ps(x); }
SOFTLOOK_ALWAYS_INLINE double_vector broadcast(double x) {
  return (double_vector)_mm512_set1_pd(x);
}
SOFTLOOK_ALWAYS_INLINE float_vector fma(float_vector a, float_vector b, float_vector c) {
  return (float_vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
SOFTLOOK_ALWAYS_INLINE double_vector fma(double_vector a, double_vector b, double_vector c) {
  return (double_vector)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
SOFTLOOK_ALWAYS_INLINE float_vector negative_fma(float_vector a, float_vector b, float_vector c) {
  return (float_vector)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
SOFTLOOK_ALWAYS_INLINE double_vector negative_fma(double_vector a, double_vector b,
                                                  double_vector c) {
  return (double_vector)_mm512_fnmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
// The zero-masking forms: gcc 12 warns about an uninitialised operand inside the plain ones.
SOFTLOOK_ALWAYS_INLINE float_vector max_of(float_vector a, float_vector b) {
  return (float_vector)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
}
SOFTLOOK_ALWAYS_INLINE double_vector max_of(double_vector a, double_vector b) {
  return (double_vector)_mm512_maskz_max_pd(0xff, (__m512d)a, (__m512d)b);
}
SOFTLOOK_ALWAYS_INLINE bool any_greater(float_vector a, float_vector b) {
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ) != 0;
}
SOFTLOOK_ALWAYS_INLINE bool any_greater(double_vector a, double_vector b) {
  return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_GT_OQ) != 0;
}
SOFTLOOK_ALWAYS_INLINE float_vector near_reciprocal(float_vector a) {
  return (float_vector)_mm512_maskz_rcp14_ps(0xffff, (__m512)a);
}
SOFTLOOK_ALWAYS_INLINE float_vector round_to_halves(float_vector x) {
  return (float_vector)_mm512_maskz_roundscale_ps(0xffff, (__m512)x, 16 + _MM_FROUND_NO_EXC);
}
SOFTLOOK_ALWAYS_INLINE double_vector round_to_halves(double_vector x) {
  return (double_vector)_mm512_maskz_roundscale_pd(0xff, (__m512d)x, 16 + _MM_FROUND_NO_EXC);
}
SOFTLOOK_ALWAYS_INLINE float_vector scaled_from(float_vector x, float_vector least, float_vector p,
                                                float_vector n) {
  const __mmask16 some = _mm512_cmp_ps_mask((__m512)x, (__m512)least, _CMP_NLT_UQ);
  return (float_vector)_mm512_maskz_scalef_ps(some, (__m512)p, (__m512)n);
}
SOFTLOOK_ALWAYS_INLINE double_vector scaled_from(double_vector x, double_vector least,
                                                 double_vector p, double_vector n) {
  const __mmask8 some = _mm512_cmp_pd_mask((__m512d)x, (__m512d)least, _CMP_NLT_UQ);
  return (double_vector)_mm512_maskz_scalef_pd(some, (__m512d)p, (__m512d)n);
}
SOFTLOOK_ALWAYS_INLINE uint64_vector product_of_low_halves(uint64_vector a, uint64_vector b) {
  return (uint64_vector)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)b);
}

#endif
