// The kernels of one instruction set: a namespace and a target region around a room of them.
// Included by all_sets.inl once for each set, which defines
//   SOFTLOOK_STAMP_SET     the namespace
//   SOFTLOOK_STAMP_BYTES   the size of a vector
//   SOFTLOOK_STAMP_TARGET  what the compiler may use beyond what it assumes; undefined for no more
//   SOFTLOOK_STAMP_COPIES  the room whose copies between matrices and panels serve this one;
//   undefined
//                          for its own
// and finds them undefined again.

#if SOFTLOOK_STAMP_BYTES == 64
#define SOFTLOOK_STAMP_REGISTER "v"
#else
#define SOFTLOOK_STAMP_REGISTER "x"
#endif

// What leads to the loops is compiled small, which takes half as long: a thousandth more
// instructions in a long call. What a single query goes through for each block of keys is so only
// in a set whose loops are long.
#if SOFTLOOK_STAMP_X86
#define SOFTLOOK_STAMP_WAY SOFTLOOK_SMALL
#else
#define SOFTLOOK_STAMP_WAY
#endif
#if SOFTLOOK_STAMP_X86 && SOFTLOOK_STAMP_BYTES == 16
#define SOFTLOOK_STAMP_SHORT_WAY SOFTLOOK_SMALL
#else
#define SOFTLOOK_STAMP_SHORT_WAY
#endif

// A macro is not expanded in #pragma GCC target, but is in the operand of _Pragma.
#define SOFTLOOK_STAMP_PRAGMA(...) _Pragma(#__VA_ARGS__)
#if defined(__clang__)
#define SOFTLOOK_STAMP_BEGIN(set) \
  SOFTLOOK_STAMP_PRAGMA(clang attribute push(__attribute__((target(set))), apply_to = function))
#define SOFTLOOK_STAMP_END _Pragma("clang attribute pop")
#else
#define SOFTLOOK_STAMP_BEGIN(set) _Pragma("GCC push_options") SOFTLOOK_STAMP_PRAGMA(GCC target(set))
#define SOFTLOOK_STAMP_END _Pragma("GCC pop_options")
#endif

#if defined(SOFTLOOK_STAMP_TARGET)
SOFTLOOK_STAMP_BEGIN(SOFTLOOK_STAMP_TARGET)
#endif
namespace SOFTLOOK_STAMP_SET {
#include SOFTLOOK_STAMP_ROOM
}
#if defined(SOFTLOOK_STAMP_TARGET)
SOFTLOOK_STAMP_END
#endif

#undef SOFTLOOK_STAMP_SET
#undef SOFTLOOK_STAMP_BYTES
#undef SOFTLOOK_STAMP_TARGET
#undef SOFTLOOK_STAMP_COPIES
#undef SOFTLOOK_STAMP_REGISTER
#undef SOFTLOOK_STAMP_WAY
#undef SOFTLOOK_STAMP_SHORT_WAY
#undef SOFTLOOK_STAMP_PRAGMA
#undef SOFTLOOK_STAMP_BEGIN
#undef SOFTLOOK_STAMP_END
#undef SOFTLOOK_STAMP_RECIPROCAL
#undef SOFTLOOK_STAMP_SCALES
#undef SOFTLOOK_STAMP_PAIRS
