// Part of softlook::compiled: pictures of weights.
#include "softlook/inspect/report.hpp"

#include "same_flags.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace inspect {

SOFTLOOK_INSTANTIATE_PAGES()
namespace detail {
SOFTLOOK_INSTANTIATE_PICTURES()
}  // namespace detail

}  // namespace inspect
SOFTLOOK_NAMESPACE_END
