#include "tests/support/kernels.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_INSTANTIATE_FORWARD(, float)
SOFTLOOK_INSTANTIATE_ADDITIVE(, float)
SOFTLOOK_INSTANTIATE_NAIVE(, float)
SOFTLOOK_INSTANTIATE_TABLES(, float)
SOFTLOOK_INSTANTIATE_LINEAR(, float)

SOFTLOOK_INSTANTIATE_FORWARD(, double)
SOFTLOOK_INSTANTIATE_ADDITIVE(, double)
SOFTLOOK_INSTANTIATE_NAIVE(, double)
SOFTLOOK_INSTANTIATE_TABLES(, double)
SOFTLOOK_INSTANTIATE_LINEAR(, double)

template void run_entmax<float>(const forward_call<float>&, const executor_ref&, double);
template void run_entmax<double>(const forward_call<double>&, const executor_ref&, double);
template row_major<float> run_entmax_weights<float>(const forward_call<float>&, const executor_ref&,
                                                    double);
template row_major<double> run_entmax_weights<double>(const forward_call<double>&,
                                                      const executor_ref&, double);

}  // namespace detail
SOFTLOOK_NAMESPACE_END
