// Part of softlook::compiled: kernels for products of rounded numbers.
#define SOFTLOOK_COMPILING_KERNELS
#include "softlook/engine/kernels/dispatch_rounded.hpp"

#include "same_flags.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template bool has_dot_unit<dot_unit>(number_format, dot_unit);
template bool is_fast_dot_unit<dot_unit>(number_format, dot_unit);
template const row_functions<float>& rounded_rows_of<float>(instruction_set, dot_unit, bool);
template rounded_tiled<float> rounded_tiled_of<float>(instruction_set, bool);
#define SOFTLOOK_COMPILE_ROUNDED(as, unit)                                                        \
  template rounded_kernels rounded_kernels_of<number_format::as, dot_unit::unit>(instruction_set, \
                                                                                 bool);
SOFTLOOK_COMPILE_ROUNDED(bfloat16, amx)
SOFTLOOK_COMPILE_ROUNDED(bfloat16, avx512)
SOFTLOOK_COMPILE_ROUNDED(int8, amx)
SOFTLOOK_COMPILE_ROUNDED(int8, avx512)
SOFTLOOK_COMPILE_ROUNDED(int8, avx2)

}  // namespace detail
SOFTLOOK_NAMESPACE_END
