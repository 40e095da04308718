#pragma once

#include "softlook/attention/attention.hpp"
#include "softlook/engine/run/dot_units.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup attention
/// \{

namespace detail {

/// Rows of 8 bits are multiplied by a unit, or with its bits.
template <class T, dot_unit Unit, bool Emulated>
void read_rounded(attention_call<T>& c) {
  const row_functions<T>* const own = &stored_rows_of<T, std::int8_t, true>(c.isa);
  const auto round = [&](row_source<T>& rows, index columns, index most) {
    if (rows.read == own && columns % rounded_column_step == 0 && columns <= most)
      rows.read = &rounded_rows_of<T>(c.isa, Unit, Emulated);
  };
  round(c.key_rows, c.key_features(), most_rounded_columns);
  round(c.value_rows, c.values(), c.values());
}

template <class T>
void set_low_precision(attention_call<T>& c, const low_precision& p) {
  const bool int8 = p.as == number_format::int8;
  if (p.unit && (*p.unit == dot_unit::amx) == int8)
    raise<argument_error>(
        formatted("%s: low_precision.unit is %s, but products of attention in %s are those of %s",
                  c.where, name_of(*p.unit), name_of(p.as), int8 ? "avx512 and avx2" : "amx")
            .text);
  if (!int8) {
    if (unit_for(c.where, p) == dot_unit::amx) c.rounded = rounded_tiled_of<T>(c.isa, p.emulated);
    return;
  }
  low_precision of_rows = p;
  if (!p.unit && has_dot_unit(p.as, dot_unit::avx512)) of_rows.unit = dot_unit::avx512;
  if (p.emulated)
    c.round_rows = &read_rounded<T, dot_unit::avx512, true>;
  else if (const auto unit = unit_for(c.where, of_rows))
    c.round_rows = *unit == dot_unit::avx512 ? &read_rounded<T, dot_unit::avx512, false>
                                             : &read_rounded<T, dot_unit::avx2, false>;
}

}  // namespace detail
/// \}

SOFTLOOK_NAMESPACE_END
