// The kernels do not depend on policies: test programs that are built without softlook::compiled
// (the rows of .ci/run) compile them once, in kernels.cpp, instead of once for each file, from its
// lists.
#pragma once

#include "softlook/attention.hpp"
#include "softlook/attention/detail/entmax_call.hpp"
#include "softlook/attention/detail/entmax_rows.inl"
#include "softlook/linear/detail/call.hpp"

#if !SOFTLOOK_USES_COMPILED
SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_INSTANTIATE_FORWARD(extern, float)
SOFTLOOK_INSTANTIATE_ADDITIVE(extern, float)
SOFTLOOK_INSTANTIATE_NAIVE(extern, float)
SOFTLOOK_INSTANTIATE_TABLES(extern, float)
SOFTLOOK_INSTANTIATE_CHECKS(extern, float)
SOFTLOOK_INSTANTIATE_MASKS(extern, float)
SOFTLOOK_INSTANTIATE_TRANSFORMS(extern, float)
SOFTLOOK_INSTANTIATE_SCORE_ROWS(extern, float)
SOFTLOOK_INSTANTIATE_ENTMAX(extern, float)
SOFTLOOK_INSTANTIATE_LINEAR(extern, float)

SOFTLOOK_INSTANTIATE_FORWARD(extern, double)
SOFTLOOK_INSTANTIATE_ADDITIVE(extern, double)
SOFTLOOK_INSTANTIATE_NAIVE(extern, double)
SOFTLOOK_INSTANTIATE_TABLES(extern, double)
SOFTLOOK_INSTANTIATE_CHECKS(extern, double)
SOFTLOOK_INSTANTIATE_MASKS(extern, double)
SOFTLOOK_INSTANTIATE_TRANSFORMS(extern, double)
SOFTLOOK_INSTANTIATE_SCORE_ROWS(extern, double)
SOFTLOOK_INSTANTIATE_ENTMAX(extern, double)
SOFTLOOK_INSTANTIATE_LINEAR(extern, double)

}  // namespace detail
SOFTLOOK_NAMESPACE_END
#endif
