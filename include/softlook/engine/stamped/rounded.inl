// The room of products of rounded numbers, behind kernels.inl in the namespace of each set.

// clang-format off
#include "softlook/engine/stamped/simd/dot_steps.inl"
#include "softlook/engine/stamped/simd/dot_tiles.inl"
#include "softlook/engine/stamped/gemm/rounded_rows.inl"
#include "softlook/engine/stamped/gemm/rounded_product.inl"
#include "softlook/engine/stamped/softmax/rounded_tiles.inl"
#include "softlook/engine/stamped/softmax/rounded_few.inl"
// clang-format on
