#pragma once

#include "softlook/core/version.hpp"

#if defined(_MSC_VER) && !defined(__clang__)
#error "softlook: MSVC is not supported; compile with gcc 12 or later, or clang 16 or later"
#elif !defined(__GNUC__)
#error \
    "softlook: this compiler is not supported; compile with gcc 12 or later, or clang 16 or later"
#endif

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || \
    (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error \
    "softlook: -ffast-math, -ffinite-math-only and -fassociative-math break masks, empty rows and NaN; compile without them"
#endif

#if __cplusplus < 202002L
#error "softlook: C++20 is needed; compile with -std=c++20"
#endif

// The instruction set that this translation unit may use everywhere. It is part of the inline
// namespace, so that units compiled with different flags never share a function: the linker keeps
// one copy of an inline function, and that copy could be one that an older machine cannot run.
#if defined(__x86_64__)
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && \
    defined(__AVX512VL__) && defined(__AVX2__) && defined(__FMA__)
#define SOFTLOOK_ASSUMED avx512
#define SOFTLOOK_ASSUMES_AVX512 1
#define SOFTLOOK_ASSUMES_AVX2 1
#elif defined(__AVX512F__)
#define SOFTLOOK_ASSUMED avx512f
#define SOFTLOOK_ASSUMES_AVX2 1
#elif defined(__AVX2__) && defined(__FMA__)
#define SOFTLOOK_ASSUMED avx2
#define SOFTLOOK_ASSUMES_AVX2 1
#elif defined(__AVX2__)
#define SOFTLOOK_ASSUMED avx2_nofma
#elif defined(__FMA__) || defined(__FMA4__)
#define SOFTLOOK_ASSUMED avx_fma
#elif defined(__AVX__)
#define SOFTLOOK_ASSUMED avx
#elif defined(__SSE4_1__)
#define SOFTLOOK_ASSUMED sse4
#elif defined(__SSE3__)
#define SOFTLOOK_ASSUMED sse3
#else
#define SOFTLOOK_ASSUMED x86_64
#endif
#elif defined(__aarch64__)
#define SOFTLOOK_ASSUMED aarch64
#else
#define SOFTLOOK_ASSUMED generic
#endif

#ifndef SOFTLOOK_ASSUMES_AVX512
#define SOFTLOOK_ASSUMES_AVX512 0
#endif
#ifndef SOFTLOOK_ASSUMES_AVX2
#define SOFTLOOK_ASSUMES_AVX2 0
#endif

// Extensions that compilers use on their own beside the set above.
#if defined(__BMI2__)
#define SOFTLOOK_ABI_BMI _bmi
#else
#define SOFTLOOK_ABI_BMI
#endif
#if defined(__AVX512VBMI__)
#define SOFTLOOK_ABI_VBMI _vbmi
#else
#define SOFTLOOK_ABI_VBMI
#endif
#if defined(__AVX512BF16__)
#define SOFTLOOK_ABI_BF16 _bf16
#elif defined(__AVX512FP16__)
#define SOFTLOOK_ABI_BF16 _fp16
#elif defined(__AVXVNNI__)
#define SOFTLOOK_ABI_BF16 _vnni
#else
#define SOFTLOOK_ABI_BF16
#endif
#if defined(__cpp_exceptions)
#define SOFTLOOK_EXCEPTIONS 1
#define SOFTLOOK_ABI_EXCEPTIONS
#else
#define SOFTLOOK_EXCEPTIONS 0
#define SOFTLOOK_ABI_EXCEPTIONS _noexcept
#endif

#define SOFTLOOK_JOIN_EXPANDED(major, set, a, b, c, d) v##major##_##set##a##b##c##d
#define SOFTLOOK_JOIN(major, set, a, b, c, d) SOFTLOOK_JOIN_EXPANDED(major, set, a, b, c, d)
#define SOFTLOOK_ABI                                                                           \
  SOFTLOOK_JOIN(SOFTLOOK_VERSION_MAJOR, SOFTLOOK_ASSUMED, SOFTLOOK_ABI_BMI, SOFTLOOK_ABI_VBMI, \
                SOFTLOOK_ABI_BF16, SOFTLOOK_ABI_EXCEPTIONS)

// softlook::compiled defines SOFTLOOK_COMPILED, and SOFTLOOK_COMPILED_<its inline namespace> as 1.
// A unit of another namespace cannot use its instantiations and compiles its own, as without it.
#define SOFTLOOK_COMPILED_IN_EXPANDED(abi) SOFTLOOK_COMPILED_##abi
#define SOFTLOOK_COMPILED_IN(abi) SOFTLOOK_COMPILED_IN_EXPANDED(abi)
#define SOFTLOOK_USES_COMPILED 0
#if defined(SOFTLOOK_COMPILED)
#if SOFTLOOK_COMPILED_IN(SOFTLOOK_ABI)
#undef SOFTLOOK_USES_COMPILED
#define SOFTLOOK_USES_COMPILED 1
#endif
#endif

// Of functions whose time does not matter, compiled small: that takes half as long to compile.
#if defined(__clang__)
#define SOFTLOOK_SMALL [[gnu::cold, clang::minsize]]
#else
#define SOFTLOOK_SMALL [[gnu::cold]]
#endif

#define SOFTLOOK_NAMESPACE_BEGIN \
  namespace softlook {           \
  inline namespace SOFTLOOK_ABI {
#define SOFTLOOK_NAMESPACE_END \
  }                            \
  }
