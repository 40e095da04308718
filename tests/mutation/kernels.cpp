#include "tests/mutation/kernels.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {
SOFTLOOK_FUZZED_KERNELS()
SOFTLOOK_MUTATED_KERNELS()
// What tests/support/kernels.hpp says is elsewhere.
SOFTLOOK_INSTANTIATE_CHECKS(, float)
SOFTLOOK_INSTANTIATE_MASK(, float, masks::padding)
SOFTLOOK_INSTANTIATE_TRANSFORM(, float, transforms::bias<float>)
}  // namespace detail
SOFTLOOK_NAMESPACE_END
