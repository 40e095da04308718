// Part of softlook::compiled: several sequences in one call.
#include "softlook/attention.hpp"

#include "same_flags.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_INSTANTIATE_SEQUENCES(, float)
SOFTLOOK_INSTANTIATE_SEQUENCES(, double)

}  // namespace detail
SOFTLOOK_NAMESPACE_END
