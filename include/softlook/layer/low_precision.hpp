#pragma once

#include <vector>

#include "softlook/engine/run/rounded_linear.hpp"
#include "softlook/layer/weight_format.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup layers
/// \{

/// Weights of a layer of float that are kept as bfloat16 or int8, and multiplied so:
///   Y = f(X̂·Ŵ + b)
///
/// given where a weight_format is: linear_layer<float> f(W, b, activation::none,
/// low_precision{number_format::bfloat16}), or .weights = low_precision{…} in the parameters of
/// multi_head and Transformer layers. X̂ are the rows of X rounded as the call reads them: to
/// bfloat16, or to multiples of a scale of each row, its largest magnitude over 127; a row that is
/// not finite gives NaN with int8. Ŵ are those of weight_storage, but numbers below 2^−126 are
/// zero. b, f and Y stay float.
///
/// Error: of a product of bfloat16 at most |x·w|·(2^−7 + 2^−16), of int8 |x|·s_w/2 + |w|·s_x/2 +
/// s_x·s_w/4 with the scales s; of a sum of k products of bfloat16 k·2^−24·Σ|x̂·ŵ| besides. Sums of
/// int8 are exact and rounded three times. Columns of Y do not depend on how many rows X has or on
/// the executor; where options{.isa} is below what the unit needs, its bits are emulated, slowly.
/// On a machine without a unit X stays as it is and arithmetic is float, as with weight_storage
/// alone. Scratch: X̂, half or a quarter of X.
/// \throws argument_error  for a unit that this machine does not have; for weights of double; of
///         int8 for a weight that is not finite, or more than 65536 inputs.
template <class T>
low_precision::operator weight_format<T>() const {
  if constexpr (std::is_same_v<T, float>)
    return weight_format<T>(detail::packed_as_rounded("weight_format", *this));
  else
    detail::raise<argument_error>(
        "weight_format: weights of double are kept exact (only those of float can be rounded)");
}

/// The units of this machine for products of these numbers, the slowest first.
template <std::same_as<number_format> Format>
[[nodiscard]] std::vector<dot_unit> available_dot_units(Format as) {
  std::vector<dot_unit> units;
  for (const dot_unit unit : {dot_unit::avx2, dot_unit::avx512, dot_unit::amx})
    if (detail::has_dot_unit(as, unit)) units.push_back(unit);
  return units;
}
/// \}

SOFTLOOK_NAMESPACE_END
