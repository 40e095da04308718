// A room of kernels once for each instruction set that the compiler may not already assume.
// Included by the headers of engine/kernels/ that choose between them, which define
//   SOFTLOOK_STAMP_ROOM  the file with the kernels
// and find it undefined again.

#define SOFTLOOK_ALWAYS_INLINE inline __attribute__((always_inline))
#define SOFTLOOK_STAMP_LAMBDA __attribute__((always_inline))
#if defined(__x86_64__)
#define SOFTLOOK_STAMP_X86 1
#else
#define SOFTLOOK_STAMP_X86 0
#endif
// Keeps a function compiled with unsafe math from cancelling (x + rounder) − rounder.
#if defined(__aarch64__)
#define SOFTLOOK_STAMP_OPAQUE(x) __asm__("" : "+w"(x))
#elif defined(__x86_64__)
#define SOFTLOOK_STAMP_OPAQUE(x) __asm__("" : "+" SOFTLOOK_STAMP_REGISTER(x))
#else
#define SOFTLOOK_STAMP_OPAQUE(x) __asm__("" : "+m"(x))
#endif

#if !SOFTLOOK_ASSUMES_AVX2
#define SOFTLOOK_STAMP_SET stamped_baseline
#define SOFTLOOK_STAMP_BYTES 16
#include "softlook/engine/stamped/set.inl"
#endif

#if SOFTLOOK_STAMP_X86 && !SOFTLOOK_ASSUMES_AVX512
#define SOFTLOOK_STAMP_SET stamped_avx2
#define SOFTLOOK_STAMP_BYTES 32
#define SOFTLOOK_STAMP_TARGET "avx2,fma"
#include "softlook/engine/stamped/set.inl"
#endif

#if SOFTLOOK_STAMP_X86
#define SOFTLOOK_STAMP_SET stamped_avx512
#define SOFTLOOK_STAMP_BYTES 64
#define SOFTLOOK_STAMP_TARGET "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"
#if !SOFTLOOK_ASSUMES_AVX512
#define SOFTLOOK_STAMP_COPIES stamped_avx2  // nothing in them is wider
#endif
#include "softlook/engine/stamped/set.inl"
#endif

#undef SOFTLOOK_ALWAYS_INLINE
#undef SOFTLOOK_STAMP_LAMBDA
#undef SOFTLOOK_STAMP_X86
#undef SOFTLOOK_STAMP_OPAQUE
#undef SOFTLOOK_STAMP_ROOM
