// Operations on vectors of 16 bytes for any other machine, or x86 without AVX2.

SOFTLOOK_ALWAYS_INLINE float_vector broadcast(float x) { return float_vector{x, x, x, x}; }
SOFTLOOK_ALWAYS_INLINE double_vector broadcast(double x) { return double_vector{x, x}; }
// Without FMA the product is rounded; two statements keep a compiler from contracting them.
SOFTLOOK_ALWAYS_INLINE float_vector fma(float_vector a, float_vector b, float_vector c) {
  const float_vector product = a * b;
  return product + c;
}
SOFTLOOK_ALWAYS_INLINE double_vector fma(double_vector a, double_vector b, double_vector c) {
  const double_vector product = a * b;
  return product + c;
}
SOFTLOOK_ALWAYS_INLINE uint64_vector product_of_low_halves(uint64_vector a, uint64_vector b) {
#if SOFTLOOK_STAMP_BUILTINS && !defined(__clang__)  // gcc would multiply halves with each other
  return (uint64_vector)__builtin_ia32_pmuludq128((int32_vector)a, (int32_vector)b);
#else
  constexpr std::uint64_t low = 0xFFFFFFFF;
  return (a & low) * (b & low);
#endif
}

#include "softlook/engine/stamped/simd/operators.inl"
