#pragma once

#include "softlook/attention/attention.hpp"
#include "softlook/engine/run/dot_units.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup attention
/// \{

namespace detail {

template <class T>
rounded_tiled<T> rounded_tiled_for(const char* where, const low_precision& p, instruction_set isa) {
  if (p.as != number_format::bfloat16)
    raise<argument_error>(formatted("%s: low_precision.as is %s, but products of attention are of "
                                    "bfloat16 (or float)",
                                    where, name_of(p.as))
                              .text);
  if (p.unit.value_or(dot_unit::amx) != dot_unit::amx)
    raise<argument_error>(formatted("%s: low_precision.unit is %s, but products of attention are "
                                    "those of amx (or float)",
                                    where, name_of(*p.unit))
                              .text);
  if (unit_for(where, p) != dot_unit::amx) return {};
  return rounded_tiled_of<T>(isa, p.emulated);
}

}  // namespace detail
/// \}

SOFTLOOK_NAMESPACE_END
