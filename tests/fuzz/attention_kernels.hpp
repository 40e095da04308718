// The kernels of attention_fuzz.cpp, in a file of their own: they take most of the time to compile
// and change less often than the target.
#pragma once

#include "softlook/attention.hpp"
#include "softlook/cache.hpp"
#include "softlook/gradient/attention.hpp"

#define SOFTLOOK_FUZZED_KERNELS(prefix)                                                            \
  prefix template const register_shape& registers_of<float>(instruction_set);                      \
  prefix template void run_forward<false, reach::any, float>(const attention_call<float>&);        \
  prefix template void run_sequences<false, reach::any, float>(const attention_call<float>&);      \
  prefix template void run_naive<false, float>(const attention_call<float>&);                      \
  prefix template void run_backward<false, float>(const attention_call<float>&,                    \
                                                  const backward_matrices<float>&);                \
  prefix template const row_functions<float>& stored_rows_of<float, float>(instruction_set);       \
  prefix template const row_functions<float>& stored_rows_of<float, half_bits>(instruction_set);   \
  prefix template const row_functions<float>& stored_rows_of<float, bfloat16_bits>(                \
      instruction_set);                                                                            \
  prefix template const row_functions<float>& stored_rows_of<float, float, true>(instruction_set); \
  prefix template const row_functions<float>& stored_rows_of<float, half_bits, true>(              \
      instruction_set);                                                                            \
  prefix template const row_functions<float>& stored_rows_of<float, bfloat16_bits, true>(          \
      instruction_set);                                                                            \
  prefix template const row_functions<float>& stored_rows_of<float, std::int8_t, true>(            \
      instruction_set);

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {
SOFTLOOK_FUZZED_KERNELS(extern)
}  // namespace detail
SOFTLOOK_NAMESPACE_END
