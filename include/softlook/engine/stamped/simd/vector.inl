// Vectors of one instruction set. Included once for each set, inside its namespace and its target
// region; SOFTLOOK_STAMP_BYTES, SOFTLOOK_STAMP_X86 say which.

typedef float float_vector __attribute__((vector_size(vector_bytes)));
typedef double double_vector __attribute__((vector_size(vector_bytes)));
typedef std::int32_t int32_vector __attribute__((vector_size(vector_bytes)));
typedef std::int64_t int64_vector __attribute__((vector_size(vector_bytes)));
typedef std::uint32_t uint32_vector __attribute__((vector_size(vector_bytes)));
typedef std::uint64_t uint64_vector __attribute__((vector_size(vector_bytes)));

template <class T>
struct simd;

template <>
struct simd<float> {
  using vec = float_vector;
  using bits = int32_vector;
  using integer = std::int32_t;
  using word = std::uint32_t;
  using words = uint32_vector;
};
template <>
struct simd<double> {
  using vec = double_vector;
  using bits = int64_vector;
  using integer = std::int64_t;
  using word = std::uint64_t;
  using words = uint64_vector;
};

template <class T>
using vec = typename simd<T>::vec;

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

/// Prefetches the line `offset` scalars behind p, which need not be in any matrix: so it is an
/// address, not a pointer.
template <class T>
SOFTLOOK_ALWAYS_INLINE void prefetch(const T* p, index offset) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  __builtin_prefetch(reinterpret_cast<const void*>(address + std::uintptr_t(offset) * sizeof(T)));
}

// Each of these defines, for float and double: broadcast(x), fma(a, b, c) = a·b + c,
// negative_fma(a, b, c) = −a·b + c, any_greater(a, b), and max_of(a, b), which is b when either
// is NaN: put the operand whose NaN must survive second; and product_of_low_halves(a, b), what the
// low halves of lanes of 64 bits multiply to. Where SOFTLOOK_STAMP_RECIPROCAL is 1, also
// near_reciprocal(a) for float. Where SOFTLOOK_STAMP_SCALES is 1, also the nearest multiple of
// ½, round_to_halves(x), and scaled_from(x, least, p, n): p·2^n where x is at least `least` (or
// NaN), 0 elsewhere.
#if SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES == 64
#include "softlook/engine/stamped/simd/x86_512.inl"
#elif SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES == 32
#include "softlook/engine/stamped/simd/x86_256.inl"
#elif defined(__aarch64__)
#include "softlook/engine/stamped/simd/neon.inl"
#else
#include "softlook/engine/stamped/simd/portable.inl"
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

/// A vector where it lies, as an operand of assembly.
template <class T>
struct __attribute__((may_alias, aligned(alignof(T)), packed)) vector_in_memory {
  T at[lanes<T>];
};

// sum += a·b in the register of the sum: where registers are short a compiler lets the sum move
// into that of an operand, and copies it back. accumulate_loaded() reads b from memory.
#if SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES >= 32
SOFTLOOK_ALWAYS_INLINE void accumulate(float_vector& sum, float_vector a, float_vector b) {
  __asm__ volatile("vfmadd231ps {%2, %1, %0|%0, %1, %2}" : "+v"(sum) : "v"(a), "v"(b));
}
SOFTLOOK_ALWAYS_INLINE void accumulate(double_vector& sum, double_vector a, double_vector b) {
  __asm__ volatile("vfmadd231pd {%2, %1, %0|%0, %1, %2}" : "+v"(sum) : "v"(a), "v"(b));
}
SOFTLOOK_ALWAYS_INLINE void accumulate_loaded(float_vector& sum, float_vector a, const float* b) {
  __asm__ volatile("vfmadd231ps {%2, %1, %0|%0, %1, %2}"
                   : "+v"(sum)
                   : "v"(a), "m"(*reinterpret_cast<const vector_in_memory<float>*>(b)));
}
SOFTLOOK_ALWAYS_INLINE void accumulate_loaded(double_vector& sum, double_vector a,
                                              const double* b) {
  __asm__ volatile("vfmadd231pd {%2, %1, %0|%0, %1, %2}"
                   : "+v"(sum)
                   : "v"(a), "m"(*reinterpret_cast<const vector_in_memory<double>*>(b)));
}
#else
template <class V>
SOFTLOOK_ALWAYS_INLINE void accumulate(V& sum, V a, V b) {
  sum = fma(a, b, sum);
}
template <class V, class T>
SOFTLOOK_ALWAYS_INLINE void accumulate_loaded(V& sum, V a, const T* b) {
  sum = fma(a, load(b), sum);
}
#endif

/// condition ? a : b, lane by lane.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> select(typename simd<T>::bits condition, vec<T> a, vec<T> b) {
  return condition ? a : b;
}

/// 1 / a, and 1 where a is 0. The divisor is hidden: clang would divide first and select
/// afterwards, and raise FE_DIVBYZERO for a query without a key.
template <class T>
SOFTLOOK_ALWAYS_INLINE vec<T> lane_reciprocal_or_one(vec<T> a) {
  const vec<T> one = broadcast(T(1));
  vec<T> divisor = select<T>(a == vec<T>{}, one, a);
  SOFTLOOK_STAMP_OPAQUE(divisor);
  return one / divisor;
}
