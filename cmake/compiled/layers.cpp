// Part of softlook::compiled: products, what layers need besides, linear attention.
#include "softlook/linear/detail/call.hpp"

#include "same_flags.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_INSTANTIATE_TABLES(, float)
SOFTLOOK_INSTANTIATE_TABLES(, double)
SOFTLOOK_INSTANTIATE_LINEAR(, float)
SOFTLOOK_INSTANTIATE_LINEAR(, double)

}  // namespace detail
SOFTLOOK_NAMESPACE_END
