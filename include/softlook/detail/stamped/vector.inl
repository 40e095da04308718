// Vectors of one instruction set. Included once for each set, inside its namespace and its target
// region; SOFTLOOK_STAMP_BYTES, SOFTLOOK_STAMP_X86 say which.

inline constexpr int vector_bytes = SOFTLOOK_STAMP_BYTES;

typedef float float_vector __attribute__((vector_size(vector_bytes)));
typedef double double_vector __attribute__((vector_size(vector_bytes)));
typedef std::int32_t int32_vector __attribute__((vector_size(vector_bytes)));
typedef std::int64_t int64_vector __attribute__((vector_size(vector_bytes)));

template <class T>
struct simd;

template <>
struct simd<float> {
  using vec = float_vector;
  using bits = int32_vector;
  using integer = std::int32_t;
};
template <>
struct simd<double> {
  using vec = double_vector;
  using bits = int64_vector;
  using integer = std::int64_t;
};

template <class T>
using vec = typename simd<T>::vec;
template <class T>
inline constexpr int lanes = vector_bytes / int(sizeof(T));

// The register tile of the micro-kernel: rows × vectors accumulators, `vectors` vectors of the wide
// operand and a broadcast must fit the register file (32 registers with AVX-512 and on AArch64,
// else 16).
inline constexpr int tile_vectors = 3;
#if defined(__aarch64__)
inline constexpr int tile_rows = 8;
#else
inline constexpr int tile_rows = vector_bytes == 64 ? 8 : 4;
#endif

template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> load(const T* p) {
  vec<T> x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}
template <class T>
SOFTLOOK_ALWAYS_INLINE void store(T* p, vec<T> x) {
  __builtin_memcpy(p, &x, sizeof x);
}

/// Asks for the line `offset` scalars behind p, which need not be in any matrix: so it is an
/// address, not a pointer.
template <class T>
SOFTLOOK_ALWAYS_INLINE void expect(const T* p, index offset) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  __builtin_prefetch(reinterpret_cast<const void*>(address + std::uintptr_t(offset) * sizeof(T)));
}

// The builtins are what the intrinsics below are made of: the object is the same, bit for bit.
#if SOFTLOOK_STAMP_BUILTINS && SOFTLOOK_STAMP_BYTES >= 32
inline constexpr int current_rounding = 4;     // _MM_FROUND_CUR_DIRECTION
inline constexpr int greater_than_quiet = 30;  // _CMP_GT_OQ
inline constexpr int not_less = 21;            // _CMP_NLT_UQ
inline constexpr int no_exceptions = 8;        // _MM_FROUND_NO_EXC, to the nearest
#endif

#if SOFTLOOK_STAMP_BUILTINS && SOFTLOOK_STAMP_BYTES == 64

SOFTLOOK_ALWAYS_INLINE float_vector spread(float x) {
  return float_vector{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}
SOFTLOOK_ALWAYS_INLINE double_vector spread(double x) {
  return double_vector{x, x, x, x, x, x, x, x};
}
SOFTLOOK_ALWAYS_INLINE float_vector fused(float_vector a, float_vector b, float_vector c) {
  return __builtin_ia32_vfmaddps512_mask(a, b, c, -1, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE double_vector fused(double_vector a, double_vector b, double_vector c) {
  return __builtin_ia32_vfmaddpd512_mask(a, b, c, -1, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE float_vector negative_fused(float_vector a, float_vector b, float_vector c) {
  return __builtin_ia32_vfnmaddps512_mask(a, b, c, -1, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE double_vector negative_fused(double_vector a, double_vector b,
                                                    double_vector c) {
  return __builtin_ia32_vfnmaddpd512_mask(a, b, c, -1, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE float_vector larger(float_vector a, float_vector b) {
  return __builtin_ia32_maxps512_mask(a, b, float_vector{}, -1, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE double_vector larger(double_vector a, double_vector b) {
  return __builtin_ia32_maxpd512_mask(a, b, double_vector{}, -1, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE bool any_greater(float_vector a, float_vector b) {
  return __builtin_ia32_cmpps512_mask(a, b, greater_than_quiet, -1, current_rounding) != 0;
}
SOFTLOOK_ALWAYS_INLINE bool any_greater(double_vector a, double_vector b) {
  return __builtin_ia32_cmppd512_mask(a, b, greater_than_quiet, -1, current_rounding) != 0;
}
SOFTLOOK_ALWAYS_INLINE float_vector near_reciprocal(float_vector a) {
  return __builtin_ia32_rcp14ps512_mask(a, float_vector{}, -1);
}
#define SOFTLOOK_STAMP_RECIPROCAL 1
// The nearest integer; p·2^n where x is at least `least` (or NaN), 0 elsewhere.
SOFTLOOK_ALWAYS_INLINE float_vector nearest(float_vector x) {
  return __builtin_ia32_rndscaleps_mask(x, no_exceptions, float_vector{}, -1, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE double_vector nearest(double_vector x) {
  return __builtin_ia32_rndscalepd_mask(x, no_exceptions, double_vector{}, -1, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE float_vector scaled_from(float_vector x, float_vector least, float_vector p,
                                                float_vector n) {
  const auto some = __builtin_ia32_cmpps512_mask(x, least, not_less, -1, current_rounding);
  return __builtin_ia32_scalefps512_mask(p, n, float_vector{}, some, current_rounding);
}
SOFTLOOK_ALWAYS_INLINE double_vector scaled_from(double_vector x, double_vector least,
                                                 double_vector p, double_vector n) {
  const auto some = __builtin_ia32_cmppd512_mask(x, least, not_less, -1, current_rounding);
  return __builtin_ia32_scalefpd512_mask(p, n, double_vector{}, some, current_rounding);
}
#define SOFTLOOK_STAMP_SCALES 1

#elif SOFTLOOK_STAMP_BUILTINS && SOFTLOOK_STAMP_BYTES == 32

SOFTLOOK_ALWAYS_INLINE float_vector spread(float x) { return float_vector{x, x, x, x, x, x, x, x}; }
SOFTLOOK_ALWAYS_INLINE double_vector spread(double x) { return double_vector{x, x, x, x}; }
SOFTLOOK_ALWAYS_INLINE float_vector fused(float_vector a, float_vector b, float_vector c) {
  return __builtin_ia32_vfmaddps256(a, b, c);
}
SOFTLOOK_ALWAYS_INLINE double_vector fused(double_vector a, double_vector b, double_vector c) {
  return __builtin_ia32_vfmaddpd256(a, b, c);
}
SOFTLOOK_ALWAYS_INLINE float_vector negative_fused(float_vector a, float_vector b, float_vector c) {
  return __builtin_ia32_vfnmaddps256(a, b, c);
}
SOFTLOOK_ALWAYS_INLINE double_vector negative_fused(double_vector a, double_vector b,
                                                    double_vector c) {
  return __builtin_ia32_vfnmaddpd256(a, b, c);
}
SOFTLOOK_ALWAYS_INLINE float_vector larger(float_vector a, float_vector b) {
  return __builtin_ia32_maxps256(a, b);
}
SOFTLOOK_ALWAYS_INLINE double_vector larger(double_vector a, double_vector b) {
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
#define SOFTLOOK_STAMP_RECIPROCAL 1

#elif SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES == 64

SOFTLOOK_ALWAYS_INLINE float_vector spread(float x) { return (float_vector)_mm512_set1_ps(x); }
SOFTLOOK_ALWAYS_INLINE double_vector spread(double x) { return (double_vector)_mm512_set1_pd(x); }
SOFTLOOK_ALWAYS_INLINE float_vector fused(float_vector a, float_vector b, float_vector c) {
  return (float_vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
SOFTLOOK_ALWAYS_INLINE double_vector fused(double_vector a, double_vector b, double_vector c) {
  return (double_vector)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
SOFTLOOK_ALWAYS_INLINE float_vector negative_fused(float_vector a, float_vector b, float_vector c) {
  return (float_vector)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
SOFTLOOK_ALWAYS_INLINE double_vector negative_fused(double_vector a, double_vector b,
                                                    double_vector c) {
  return (double_vector)_mm512_fnmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
// The zero-masking forms: gcc 12 warns about an uninitialised operand inside the plain ones.
SOFTLOOK_ALWAYS_INLINE float_vector larger(float_vector a, float_vector b) {
  return (float_vector)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
}
SOFTLOOK_ALWAYS_INLINE double_vector larger(double_vector a, double_vector b) {
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
#define SOFTLOOK_STAMP_RECIPROCAL 1
SOFTLOOK_ALWAYS_INLINE float_vector nearest(float_vector x) {
  return (float_vector)_mm512_maskz_roundscale_ps(0xffff, (__m512)x, _MM_FROUND_NO_EXC);
}
SOFTLOOK_ALWAYS_INLINE double_vector nearest(double_vector x) {
  return (double_vector)_mm512_maskz_roundscale_pd(0xff, (__m512d)x, _MM_FROUND_NO_EXC);
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
#define SOFTLOOK_STAMP_SCALES 1

#elif SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES == 32

SOFTLOOK_ALWAYS_INLINE float_vector spread(float x) { return (float_vector)_mm256_set1_ps(x); }
SOFTLOOK_ALWAYS_INLINE double_vector spread(double x) { return (double_vector)_mm256_set1_pd(x); }
SOFTLOOK_ALWAYS_INLINE float_vector fused(float_vector a, float_vector b, float_vector c) {
  return (float_vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
SOFTLOOK_ALWAYS_INLINE double_vector fused(double_vector a, double_vector b, double_vector c) {
  return (double_vector)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
SOFTLOOK_ALWAYS_INLINE float_vector negative_fused(float_vector a, float_vector b, float_vector c) {
  return (float_vector)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
SOFTLOOK_ALWAYS_INLINE double_vector negative_fused(double_vector a, double_vector b,
                                                    double_vector c) {
  return (double_vector)_mm256_fnmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
SOFTLOOK_ALWAYS_INLINE float_vector larger(float_vector a, float_vector b) {
  return (float_vector)_mm256_max_ps((__m256)a, (__m256)b);
}
SOFTLOOK_ALWAYS_INLINE double_vector larger(double_vector a, double_vector b) {
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
#define SOFTLOOK_STAMP_RECIPROCAL 1

#else

#if defined(__aarch64__)
SOFTLOOK_ALWAYS_INLINE float_vector spread(float x) { return (float_vector)vdupq_n_f32(x); }
SOFTLOOK_ALWAYS_INLINE double_vector spread(double x) { return (double_vector)vdupq_n_f64(x); }
#else
SOFTLOOK_ALWAYS_INLINE float_vector spread(float x) { return float_vector{x, x, x, x}; }
SOFTLOOK_ALWAYS_INLINE double_vector spread(double x) { return double_vector{x, x}; }
#endif
#if defined(__aarch64__)
SOFTLOOK_ALWAYS_INLINE float_vector fused(float_vector a, float_vector b, float_vector c) {
  return (float_vector)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
SOFTLOOK_ALWAYS_INLINE double_vector fused(double_vector a, double_vector b, double_vector c) {
  return (double_vector)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#else
// Without FMA the product is rounded; two statements keep a compiler from contracting them.
SOFTLOOK_ALWAYS_INLINE float_vector fused(float_vector a, float_vector b, float_vector c) {
  const float_vector product = a * b;
  return product + c;
}
SOFTLOOK_ALWAYS_INLINE double_vector fused(double_vector a, double_vector b, double_vector c) {
  const double_vector product = a * b;
  return product + c;
}
#endif
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
#define SOFTLOOK_STAMP_RECIPROCAL 0

#endif
#ifndef SOFTLOOK_STAMP_SCALES
#define SOFTLOOK_STAMP_SCALES 0
#endif

/// What follows waits for x. A register tile needs nearly every register; clang (4×3 of 16) and gcc
/// for AArch64 (8×3 of 32) load the broadcasts ahead of their use, are registers short, and copy
/// the accumulators around in the loop, which halves its speed.
template <class V>
SOFTLOOK_ALWAYS_INLINE void keep_order([[maybe_unused]] V& x) {
#if defined(__aarch64__)
  __asm__ volatile("" : "+w"(x) : : "memory");
#elif defined(__clang__) && SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES <= 32
  __asm__ volatile("" : "+x"(x) : : "memory");
#endif
}

// larger(a, b) is b when either is NaN: put the operand whose NaN must survive second.

/// condition ? a : b, lane by lane.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> blend(typename simd<T>::bits condition, vec<T> a, vec<T> b) {
  return condition ? a : b;
}

/// 1 / a, and 1 where a is 0. The divisor is hidden: clang would divide first and select
/// afterwards, and raise FE_DIVBYZERO for a query without a key.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> reciprocal_or_one(vec<T> a) {
  const vec<T> one = spread(T(1));
  vec<T> divisor = blend<T>(a == vec<T>{}, one, a);
  SOFTLOOK_STAMP_OPAQUE(divisor);
  return one / divisor;
}
