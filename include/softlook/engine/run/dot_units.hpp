#pragma once

#include <optional>

#include "softlook/engine/kernels/dispatch_rounded.hpp"

// Which unit computes products of rounded numbers.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// The unit that is meant, or none: products are those of float.
/// \throws argument_error  for a unit that this machine does not have, or that has no products of
///                         these numbers.
template <std::same_as<low_precision> Policy>
[[nodiscard]] std::optional<dot_unit> unit_for(const char* where, const Policy& p) {
  if (p.as == number_format::bfloat16 && p.unit == dot_unit::avx2)
    raise<argument_error>(
        formatted("%s: low_precision.unit is avx2, which has no products of bfloat16", where).text);
  if (p.emulated) return p.unit.value_or(dot_unit::amx);
  if (p.unit) {
    if (!has_dot_unit(p.as, *p.unit))
      raise<argument_error>(
          formatted("%s: low_precision.unit is %s, which this machine does not have for %s", where,
                    name_of(*p.unit), name_of(p.as))
              .text);
    return p.unit;
  }
  for (const dot_unit unit : {dot_unit::amx, dot_unit::avx512, dot_unit::avx2})
    if (is_fast_dot_unit(p.as, unit)) return unit;
  return {};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
