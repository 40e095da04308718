// Part of softlook::compiled: linear attention.
// clang-format off
#include "softlook/linear/detail/call.hpp"
#include "softlook/linear/detail/run_linear.inl"
// clang-format on

#include "same_flags.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_INSTANTIATE_LINEAR(, float)
SOFTLOOK_INSTANTIATE_LINEAR(, double)

}  // namespace detail
SOFTLOOK_NAMESPACE_END
