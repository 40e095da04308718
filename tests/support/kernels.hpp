// The kernels do not depend on policies, so the test programs compile them once, in kernels.cpp,
// instead of once for each file, from the lists of softlook::compiled. A file that must stand alone
// simply does not include this one.
#pragma once

#include "softlook/attention.hpp"
#include "softlook/detail/entmax_forward.hpp"
#include "softlook/detail/linear_forward.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_INSTANTIATE_FORWARD(extern, float)
SOFTLOOK_INSTANTIATE_ADDITIVE(extern, float)
SOFTLOOK_INSTANTIATE_NAIVE(extern, float)
SOFTLOOK_INSTANTIATE_TABLES(extern, float)
SOFTLOOK_INSTANTIATE_LINEAR(extern, float)

SOFTLOOK_INSTANTIATE_FORWARD(extern, double)
SOFTLOOK_INSTANTIATE_ADDITIVE(extern, double)
SOFTLOOK_INSTANTIATE_NAIVE(extern, double)
SOFTLOOK_INSTANTIATE_TABLES(extern, double)
SOFTLOOK_INSTANTIATE_LINEAR(extern, double)

extern template void run_entmax<float>(const forward_call<float>&, const executor_ref&, double);
extern template void run_entmax<double>(const forward_call<double>&, const executor_ref&, double);
extern template row_major<float> run_entmax_weights<float>(const forward_call<float>&,
                                                           const executor_ref&, double);
extern template row_major<double> run_entmax_weights<double>(const forward_call<double>&,
                                                             const executor_ref&, double);

}  // namespace detail
SOFTLOOK_NAMESPACE_END
