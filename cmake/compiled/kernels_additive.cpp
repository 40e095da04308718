// Part of softlook::compiled: kernels of attention with additive scores.
#include "kernels.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_COMPILE_ADDITIVE(float)
SOFTLOOK_COMPILE_ADDITIVE(double)

}  // namespace detail
SOFTLOOK_NAMESPACE_END
