// The room of the way back, behind kernels.inl in the namespace of each set.

// clang-format off
#include "softlook/engine/stamped/softmax/slopes.inl"
#include "softlook/engine/stamped/softmax/backward_rows.inl"
#include "softlook/engine/stamped/softmax/additive_backward.inl"
#include "softlook/engine/stamped/softmax/tiled_backward.inl"
// clang-format on
