#include "tests/support/kernels.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template void run_forward<false, float>(forward_call<float>, const executor_ref&);
template void run_forward<false, double>(forward_call<double>, const executor_ref&);
template void run_forward<true, float>(forward_call<float>, const executor_ref&);
template void run_forward<true, double>(forward_call<double>, const executor_ref&);
template std::vector<row_major<float>> run_weights<float>(const forward_call<float>&,
                                                          const executor_ref&);
template std::vector<row_major<double>> run_weights<double>(const forward_call<double>&,
                                                            const executor_ref&);
template row_major<float> run_raw_scores<float>(const forward_call<float>&, const executor_ref&);
template row_major<double> run_raw_scores<double>(const forward_call<double>&, const executor_ref&);

template void run_naive<float>(const forward_call<float>&, const executor_ref&);
template void run_naive<double>(const forward_call<double>&, const executor_ref&);
template void apply_projections<float>(forward_call<float>&, const executor_ref&, float*);
template void apply_projections<double>(forward_call<double>&, const executor_ref&, double*);
template void run_entmax<float>(const forward_call<float>&, const executor_ref&, double);
template void run_entmax<double>(const forward_call<double>&, const executor_ref&, double);
template row_major<float> run_entmax_weights<float>(const forward_call<float>&, const executor_ref&,
                                                    double);
template row_major<double> run_entmax_weights<double>(const forward_call<double>&,
                                                      const executor_ref&, double);

template const product_kernels<float>& products_of<float>(instruction_set);
template const product_kernels<double>& products_of<double>(instruction_set);
template const layer_kernels<float>& layers_of<float>(instruction_set);
template const layer_kernels<double>& layers_of<double>(instruction_set);

template void run_linear<float>(const linear_call<float>&);
template void run_linear<double>(const linear_call<double>&);
template const recurrent_kernels<float>& recurrents_of<float>(instruction_set);
template const recurrent_kernels<double>& recurrents_of<double>(instruction_set);

}  // namespace detail
SOFTLOOK_NAMESPACE_END
