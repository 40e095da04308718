// Part of softlook::compiled: attention with dot scores in double.
#include "softlook/attention.hpp"
#include "softlook/attention/detail/entmax_call.hpp"
#include "softlook/attention/detail/entmax_rows.inl"

#include "same_flags.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

SOFTLOOK_INSTANTIATE_FORWARD(, double)
SOFTLOOK_INSTANTIATE_NAIVE(, double)
SOFTLOOK_INSTANTIATE_CHECKS(, double)
SOFTLOOK_INSTANTIATE_MASKS(, double)
SOFTLOOK_INSTANTIATE_TRANSFORMS(, double)
SOFTLOOK_INSTANTIATE_SCORE_ROWS(, double)
SOFTLOOK_INSTANTIATE_ENTMAX(, double)

}  // namespace detail
SOFTLOOK_NAMESPACE_END
