// Part of softlook::compiled: pictures of weights.
#include "softlook/inspect/detail/pictures.hpp"
#include "softlook/inspect/detail/report_page.hpp"

#include "same_flags.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace inspect {

template std::string to_html<report>(const report&);
namespace detail {
SOFTLOOK_INSTANTIATE_NAMES()
template std::string text_of_maps<heat_map>(std::span<const heat_map>, const style&);
template std::string svg_of_maps<heat_map>(std::span<const heat_map>, const style&);
}  // namespace detail

}  // namespace inspect
SOFTLOOK_NAMESPACE_END
