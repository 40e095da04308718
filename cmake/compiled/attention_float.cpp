// Part of softlook::compiled: attention with dot scores in float.
#include "softlook/attention.hpp"
#include "softlook/attention/detail/entmax_call.hpp"
#include "softlook/attention/detail/entmax_rows.inl"

#include "same_flags.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_INSTANTIATE_FORWARD(, float)
SOFTLOOK_INSTANTIATE_NAIVE(, float)
SOFTLOOK_INSTANTIATE_CHECKS(, float)
SOFTLOOK_INSTANTIATE_MASKS(, float)
SOFTLOOK_INSTANTIATE_TRANSFORMS(, float)
SOFTLOOK_INSTANTIATE_SCORE_ROWS(, float)
SOFTLOOK_INSTANTIATE_ENTMAX(, float)

}  // namespace detail
SOFTLOOK_NAMESPACE_END
