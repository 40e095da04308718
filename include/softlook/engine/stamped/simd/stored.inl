// Numbers of 16 and 8 bits as a vector of floats.

typedef std::uint16_t stored16_vector __attribute__((vector_size(2 * lanes<float>)));
typedef std::int8_t stored8_vector __attribute__((vector_size(lanes<float>)));

/// As many numbers as a vector of T has lanes.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> stored_as(const T* p) {
  return load(p);
}

SOFTLOOK_ALWAYS_INLINE float_vector stored_as(const bfloat16_bits* p) {
  stored16_vector x;
  __builtin_memcpy(&x, p, sizeof x);
  return (float_vector)(__builtin_convertvector(x, int32_vector) << 16);
}

SOFTLOOK_ALWAYS_INLINE float_vector stored_as(const std::int8_t* p) {
  stored8_vector x;
  __builtin_memcpy(&x, p, sizeof x);
  return __builtin_convertvector(__builtin_convertvector(x, int32_vector), float_vector);
}

#if SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES == 64
SOFTLOOK_ALWAYS_INLINE float_vector stored_as(const half_bits* p) {
  float_vector x;
  __asm__("vcvtph2ps {%1, %0|%0, %1}"
          : "=v"(x)
          : "m"(*reinterpret_cast<const vector_in_memory<half_bits>*>(p)));
  return x;
}
#else
/// Exponent and fraction are moved to their places; a subnormal number gets an exponent, whose
/// implied bit is then subtracted.
SOFTLOOK_ALWAYS_INLINE float_vector stored_as(const half_bits* p) {
  stored16_vector given;
  __builtin_memcpy(&given, p, sizeof given);
  const int32_vector x = __builtin_convertvector(given, int32_vector);
  const int32_vector size = (x & 0x7fff) << 13, exponent = size & 0x0f800000;
  const int32_vector special = (exponent == 0x0f800000) & 0x38000000;  // Inf and NaN
  const int32_vector normal = size + 0x38000000 + special;
  const float_vector implied = (float_vector)(int32_vector{} + 0x38800000);  // 2^−14
  const int32_vector tiny = exponent == 0;
  const float_vector subnormal =
      (float_vector)(tiny ? size + 0x38800000 : int32_vector{} + 0x38800000) - implied;
  const int32_vector bits = tiny ? (int32_vector)subnormal : normal;
  return (float_vector)(bits | (x & 0x8000) << 16);
}
#endif
