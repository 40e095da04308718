// What calls.cpp runs, in a file of its own: a mutant of a kernel compiles this one again and
// nothing else.
#pragma once

#include "tests/fuzz/attention_kernels.hpp"

#define SOFTLOOK_MUTATED_KERNELS(prefix)                                                   \
  prefix template void run_forward<true, reach::any, float>(const attention_call<float>&); \
  prefix template void run_naive<true, float>(const attention_call<float>&);               \
  prefix template score_inputs<float> make_inputs<float>(const attention_call<float>&, float*);

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {
SOFTLOOK_MUTATED_KERNELS(extern)
}  // namespace detail
SOFTLOOK_NAMESPACE_END
