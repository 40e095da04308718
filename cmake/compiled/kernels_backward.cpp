// Part of softlook::compiled: kernels of the way back of attention.
#include "kernels.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_COMPILE_BACKWARD(float)
SOFTLOOK_COMPILE_BACKWARD(double)

}  // namespace detail
SOFTLOOK_NAMESPACE_END
