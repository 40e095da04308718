// Numbers of 16 and 8 bits as a vector of floats. Where a set has instructions that widen they are
// in assembly: compilers make a dozen of each conversion of vectors.

template <class Stored, int Count>
struct __attribute__((may_alias, packed)) stored_in_memory {
  Stored at[Count];
};
#define SOFTLOOK_STAMP_WIDEN(instruction, x, p) \
  __asm__(instruction " {%1, %0|%0, %1}"        \
          : "=" SOFTLOOK_STAMP_REGISTER(x)      \
          : "m"(*reinterpret_cast<              \
                const stored_in_memory<std::remove_cvref_t<decltype(*p)>, lanes<float>>*>(p)))

/// As many numbers as a vector of T has lanes.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> stored_as(const T* p) {
  return load(p);
}

#if SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES >= 32

SOFTLOOK_ALWAYS_INLINE float_vector stored_as(const bfloat16_bits* p) {
  int32_vector x;
  SOFTLOOK_STAMP_WIDEN("vpmovzxwd", x, p);
  return (float_vector)(x << 16);
}
SOFTLOOK_ALWAYS_INLINE float_vector stored_as(const std::int8_t* p) {
  int32_vector x;
  SOFTLOOK_STAMP_WIDEN("vpmovsxbd", x, p);
  return __builtin_convertvector(x, float_vector);
}
SOFTLOOK_ALWAYS_INLINE float_vector stored_as(const half_bits* p) {
  float_vector x;
  SOFTLOOK_STAMP_WIDEN("vcvtph2ps", x, p);
  return x;
}

#else

typedef std::uint16_t stored16_vector __attribute__((vector_size(vector_bytes)));
typedef std::int8_t stored8_vector __attribute__((vector_size(vector_bytes)));

/// Four numbers of 16 bits, each in the upper half of a lane.
template <class Stored>
SOFTLOOK_ALWAYS_INLINE int32_vector upper_halves(const Stored* p) {
  std::int64_t given;
  __builtin_memcpy(&given, p, 8);
  const stored16_vector x = (stored16_vector)int64_vector{given};
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  return (int32_vector)__builtin_shufflevector(x, stored16_vector{}, 0, 8, 1, 9, 2, 10, 3, 11);
#else
  return (int32_vector)__builtin_shufflevector(stored16_vector{}, x, 0, 8, 1, 9, 2, 10, 3, 11);
#endif
}
SOFTLOOK_ALWAYS_INLINE float_vector stored_as(const bfloat16_bits* p) {
  return (float_vector)upper_halves(p);
}
SOFTLOOK_ALWAYS_INLINE float_vector stored_as(const std::int8_t* p) {
  std::int32_t given;
  __builtin_memcpy(&given, p, 4);
  const stored8_vector x = (stored8_vector)int32_vector{given};
  // Twice beside itself, and again: each number ends in the upper byte of a lane.
  const stored16_vector two = (stored16_vector)__builtin_shufflevector(
      x, x, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const int32_vector wide =
      (int32_vector)__builtin_shufflevector(two, two, 0, 8, 1, 9, 2, 10, 3, 11);
  return __builtin_convertvector(wide >> 24, float_vector);
}
/// Exponent and fraction are moved to their places; a subnormal number gets an exponent, whose
/// implied bit is then subtracted.
SOFTLOOK_ALWAYS_INLINE float_vector stored_as(const half_bits* p) {
  const int32_vector x = upper_halves(p);
  const int32_vector size = (x & 0x7fffffff) >> 3, exponent = size & 0x0f800000;
  const int32_vector special = (exponent == 0x0f800000) & 0x38000000;  // Inf and NaN
  const int32_vector normal = size + 0x38000000 + special;
  const int32_vector least = int32_vector{} + 0x38800000;  // 2^−14
  const int32_vector tiny = exponent == 0;
  const float_vector subnormal =
      (float_vector)(tiny ? size + 0x38800000 : least) - (float_vector)least;
  const int32_vector bits = tiny ? (int32_vector)subnormal : normal;
  return (float_vector)(bits | (x & std::int32_t(0x80000000)));
}

#endif
#undef SOFTLOOK_STAMP_WIDEN
