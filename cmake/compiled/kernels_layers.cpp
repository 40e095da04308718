// Part of softlook::compiled: kernels of layers.
#include "kernels.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_COMPILE_LAYERS(float)
SOFTLOOK_COMPILE_LAYERS(double)
template product_kernel<float> stored_linear_of<float, bfloat16_bits>(instruction_set);
template product_kernel<float> stored_linear_of<float, std::int8_t>(instruction_set);
template instruction_set chosen_instruction_set<options>(const char*, const options&);

}  // namespace detail
SOFTLOOK_NAMESPACE_END
