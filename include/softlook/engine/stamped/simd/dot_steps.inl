// A step of a product of groups: what multiplies the numbers of a group of X with those of groups
// of W, and adds them to sums of 32 bits. Sums lie in vectors of their bits.

template <>
struct simd<bfloat16_pair> {
  using vec = uint32_vector;
};
template <>
struct simd<emulated_pair> {
  using vec = uint32_vector;
};
template <>
struct simd<int8_quad> {
  using vec = int32_vector;
};
template <>
struct simd<emulated_quad> {
  using vec = int32_vector;
};

// multiply(sum, x, w): sum of each lane += x · w.
#define SOFTLOOK_STAMP_DOT_STEP(T, instruction)                                          \
  template <>                                                                            \
  struct own_step<T> {                                                                   \
    static constexpr bool exists = true;                                                 \
    SOFTLOOK_ALWAYS_INLINE static void multiply(vec<T>& sum, vec<T> x, vec<T> w) {       \
      __asm__ volatile(instruction " {%2, %1, %0|%0, %1, %2}"                            \
                       : "+" SOFTLOOK_STAMP_REGISTER(sum)                                \
                       : SOFTLOOK_STAMP_REGISTER(x), SOFTLOOK_STAMP_REGISTER(w));        \
    }                                                                                    \
    template <int Count>                                                                 \
    SOFTLOOK_ALWAYS_INLINE static void add(vec<T>* sum, const T& x, const vec<T>* w) {   \
      vec<T> a;                                                                          \
      __asm__("vpbroadcastd {%1, %0|%0, %1}" : "=" SOFTLOOK_STAMP_REGISTER(a) : "m"(x)); \
      _Pragma("GCC unroll 4") for (int v = 0; v < Count; ++v) multiply(sum[v], a, w[v]); \
    }                                                                                    \
  };

#if SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES == 64
SOFTLOOK_STAMP_DOT_STEP(bfloat16_pair, "vdpbf16ps")
SOFTLOOK_STAMP_DOT_STEP(int8_quad, "vpdpbusd")
#elif SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES == 32
SOFTLOOK_STAMP_DOT_STEP(int8_quad, "%{vex%} vpdpbusd")
#endif
#undef SOFTLOOK_STAMP_DOT_STEP

/// Numbers below 2^−126 are zero.
SOFTLOOK_ALWAYS_INLINE float_vector without_subnormals(float_vector x) {
  const int32_vector bits = (int32_vector)x;
  const int32_vector sign = bits & std::int32_t(0x80000000);
  return (float_vector)((bits & 0x7f800000) == 0 ? sign : bits);
}

/// The second number of each pair, and the first, as floats: numbers lie as their group does.
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
inline constexpr bool first_is_low = true;
#else
inline constexpr bool first_is_low = false;
#endif
SOFTLOOK_ALWAYS_INLINE float_vector second_of(uint32_vector pairs) {
  return (float_vector)(first_is_low ? pairs & 0xffff0000U : pairs << 16);
}
SOFTLOOK_ALWAYS_INLINE float_vector first_of(uint32_vector pairs) {
  return (float_vector)(first_is_low ? pairs << 16 : pairs & 0xffff0000U);
}

/// sum += a·b as instructions for bfloat16 do: the product is exact.
SOFTLOOK_ALWAYS_INLINE void add_flushed(float_vector& sum, float_vector a, float_vector b) {
  sum = without_subnormals(fma(a, b, sum));
}

template <>
struct own_step<emulated_pair> {
  static constexpr bool exists = true;
  template <int Count>
  static void add(uint32_vector* sum, const emulated_pair& x, const uint32_vector* w) {
    const uint32_vector a = uint32_vector{} + x.bits;
    for (int v = 0; v < Count; ++v) {
      float_vector s = (float_vector)sum[v];
      add_flushed(s, second_of(a), second_of(w[v]));
      add_flushed(s, first_of(a), first_of(w[v]));
      sum[v] = (uint32_vector)s;
    }
  }
};

template <>
struct own_step<emulated_quad> {
  static constexpr bool exists = true;
  static void multiply(int32_vector& sum, int32_vector x, int32_vector w) {
    for (int number = 0; number < 4; ++number)
      sum += (x >> 8 * number & 255) * (w << (24 - 8 * number) >> 24);
  }
  template <int Count>
  static void add(int32_vector* sum, const emulated_quad& x, const int32_vector* w) {
    for (int v = 0; v < Count; ++v) multiply(sum[v], int32_vector{} + std::int32_t(x.bits), w[v]);
  }
};
