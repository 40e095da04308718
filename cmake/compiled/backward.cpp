// Part of softlook::compiled: the way back of attention.
#include "softlook/engine/run/run_backward.hpp"

#include "same_flags.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_INSTANTIATE_BACKWARD(, float, false)
SOFTLOOK_INSTANTIATE_BACKWARD(, float, true)
SOFTLOOK_INSTANTIATE_BACKWARD(, double, false)
SOFTLOOK_INSTANTIATE_BACKWARD(, double, true)

}  // namespace detail
SOFTLOOK_NAMESPACE_END
