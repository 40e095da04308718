#pragma once

#include <vector>

#include "softlook/engine/run/dot_units.hpp"
#include "softlook/engine/run/packed_linear.hpp"

// Packed weights whose products are of rounded numbers.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// f(row, column, position) for every weight and where it is packed: in panels of groups.
template <class T, class F>
void for_each_grouped(const matrix_view<T>& W, index group, const F& f) {
  constexpr index width = packed_panel_width<T>;
  const index depth = groups_of(W.rows, group);
  for (index c = 0; c < W.cols; ++c)
    for (index k = 0; k < W.rows; ++k)
      f(k, c, ((c / width * depth + k / group) * width + c % width) * group + k % group);
}

template <class T>
[[nodiscard]] aligned_vector<T> grouped_panels(const matrix_view<T>& W, index group) {
  const index count = packed_size<T>(groups_of(W.rows, group), W.cols);
  return aligned_vector<T>(std::size_t(std::max<index>(count, packed_panel_width<T>)));
}

template <class T>
void pack_bfloat16_pairs(const char*, const matrix_view<T>& W, aligned_vector<T>& panels,
                         aligned_vector<T>&) {
  panels = grouped_panels(W, 2);
  for_each_grouped(W, 2, [&](index k, index c, index position) {
    const T w = W(k, c);
    set_packed(
        panels, position,
        static_cast<Eigen::bfloat16>(std::abs(w) < T(0x1p-126) ? std::copysign(T(0), w) : w));
  });
}

/// Behind the scales stands what the offset of X adds to a sum of each column.
/// \throws argument_error  for a weight that is not finite, or for too many inputs.
template <class T>
void pack_int8_quads(const char* where, const matrix_view<T>& W, aligned_vector<T>& panels,
                     aligned_vector<T>& scales) {
  check_finite(where, "weight ", W);
  if (W.rows > most_int8_inputs)
    raise_argument(where, "W.rows()", double(W.rows),
                   "sums of int8 products are 32-bit: at most 65536 inputs");
  panels = grouped_panels(W, 4);
  const auto columns = std::size_t(round_up(W.cols, packed_panel_width<T>));
  scales = scales_of_columns(W);
  std::vector<std::int32_t> offsets(columns, 0);
  for_each_grouped(W, 4, [&](index k, index c, index position) {
    const std::int8_t w = in_8_bits(W(k, c), scales[std::size_t(c)]);
    offsets[std::size_t(c)] += int8_offset * w;
    set_packed(panels, position, w);
  });
  scales.resize(2 * columns);
  if (columns > 0)
    std::memcpy(scales.data() + columns, offsets.data(), columns * sizeof(std::int32_t));
}

template <number_format As, dot_unit Unit, bool Emulated>
[[nodiscard]] product_kernel<float> rounded_linear_of(instruction_set isa) {
  return rounded_kernels_of<As, Unit>(isa, Emulated).linear;
}
template <number_format As, dot_unit Unit, bool Emulated>
[[nodiscard]] rounding_kernel<float> rounding_of(instruction_set isa) {
  return rounded_kernels_of<As, Unit>(isa, Emulated).round;
}
template <index Group>
[[nodiscard]] index columns_of_rounded(index inputs) {
  return rounded_columns(groups_of(inputs, Group));
}

template <number_format As, dot_unit Unit, bool Emulated>
[[nodiscard]] packed_storage<float> packed_for_unit() {
  constexpr bool quads = As == number_format::int8;
  packed_storage<float> how;
  how.kept = quads ? weight_storage::int8 : weight_storage::bfloat16;
  how.pack = quads ? &pack_int8_quads<float> : &pack_bfloat16_pairs<float>;
  how.linear_of = &rounded_linear_of<As, Unit, Emulated>;
  how.rounding_of = &rounding_of<As, Unit, Emulated>;
  how.rounded_columns = &columns_of_rounded < quads ? 4 : 2 > ;
  return how;
}

template <number_format As, dot_unit Unit>
[[nodiscard]] packed_storage<float> packed_for_unit(bool emulated) {
  return emulated ? packed_for_unit<As, Unit, true>() : packed_for_unit<As, Unit, false>();
}

/// \throws argument_error  as unit_for().
template <std::same_as<low_precision> Policy>
[[nodiscard]] packed_storage<float> packed_as_rounded(const char* where, const Policy& p) {
  const std::optional<dot_unit> unit = unit_for(where, p);
  using enum number_format;
  if (p.as == bfloat16) {
    if (!unit) return packed_as_bfloat16<float>();
    return *unit == dot_unit::amx ? packed_for_unit<bfloat16, dot_unit::amx>(p.emulated)
                                  : packed_for_unit<bfloat16, dot_unit::avx512>(p.emulated);
  }
  if (!unit) return packed_as_int8<float>();
  return *unit == dot_unit::amx      ? packed_for_unit<int8, dot_unit::amx>(p.emulated)
         : *unit == dot_unit::avx512 ? packed_for_unit<int8, dot_unit::avx512>(p.emulated)
                                     : packed_for_unit<int8, dot_unit::avx2>(p.emulated);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
