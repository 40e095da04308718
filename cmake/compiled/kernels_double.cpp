// Part of softlook::compiled: kernels of attention with dot scores in double.
#include "kernels.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_COMPILE_ATTENTION(double, false)

}  // namespace detail
SOFTLOOK_NAMESPACE_END
