// Part of softlook::compiled: pictures of weights.
// clang-format off
#include "softlook/inspect/report.hpp"
#include "softlook/inspect/detail/pictures.inl"
#include "softlook/inspect/detail/report_page.inl"
// clang-format on

#include "same_flags.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace inspect {

template std::string to_html<report>(const report&);
template std::string strongest_keys_text<heat_map>(const heat_map&, index);
namespace detail {
SOFTLOOK_INSTANTIATE_NAMES()
template std::string text_of_maps<heat_map>(std::span<const heat_map>, const style&);
template std::string svg_of_maps<heat_map>(std::span<const heat_map>, const style&);
}  // namespace detail

}  // namespace inspect
SOFTLOOK_NAMESPACE_END
