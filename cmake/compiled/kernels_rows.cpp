// Part of softlook::compiled: kernels of rows: as they are stored, of whole scores, of dropout.
#include "kernels.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_COMPILE_ROWS(float)
SOFTLOOK_COMPILE_ROWS(double)
SOFTLOOK_COMPILE_STORED(float, half_bits)
SOFTLOOK_COMPILE_STORED(float, bfloat16_bits)
template const row_functions<float>& stored_rows_of<float, std::int8_t, true>(instruction_set);

}  // namespace detail
SOFTLOOK_NAMESPACE_END
