// Part of softlook::compiled: kernels of linear attention.
#include "kernels.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_COMPILE_LINEAR(float)
SOFTLOOK_COMPILE_LINEAR(double)

}  // namespace detail
SOFTLOOK_NAMESPACE_END
