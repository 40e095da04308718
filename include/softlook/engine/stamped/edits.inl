// What is compiled for each policy, in the order of use: all that a unit needs which takes its
// kernels from softlook::compiled.

// clang-format off
#include "softlook/engine/stamped/simd/lanes.inl"
#if defined(SOFTLOOK_STAMP_COPIES)
using SOFTLOOK_STAMP_COPIES::block4;
using SOFTLOOK_STAMP_COPIES::row4;
using SOFTLOOK_STAMP_COPIES::transpose_rows4;
#else
#include "softlook/engine/stamped/gemm/rows4.inl"
#endif
#include "softlook/engine/stamped/softmax/edit.inl"
// clang-format on
