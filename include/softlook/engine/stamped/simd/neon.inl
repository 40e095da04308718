// Operations on vectors of 16 bytes: NEON of AArch64.

SOFTLOOK_ALWAYS_INLINE float_vector broadcast(float x) { return (float_vector)vdupq_n_f32(x); }
SOFTLOOK_ALWAYS_INLINE double_vector broadcast(double x) { return (double_vector)vdupq_n_f64(x); }
SOFTLOOK_ALWAYS_INLINE float_vector fma(float_vector a, float_vector b, float_vector c) {
  return (float_vector)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
SOFTLOOK_ALWAYS_INLINE double_vector fma(double_vector a, double_vector b, double_vector c) {
  return (double_vector)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
SOFTLOOK_ALWAYS_INLINE uint64_vector product_of_low_halves(uint64_vector a, uint64_vector b) {
  return (uint64_vector)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
}

#include "softlook/engine/stamped/simd/operators.inl"
