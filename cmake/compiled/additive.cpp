// Part of softlook::compiled: attention with additive scores.
#include "softlook/attention.hpp"

#include "same_flags.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_INSTANTIATE_ADDITIVE(, float)
SOFTLOOK_INSTANTIATE_ADDITIVE(, double)

}  // namespace detail
SOFTLOOK_NAMESPACE_END
