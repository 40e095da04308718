#pragma once

#include "layers.hpp"

namespace conformance {

struct layer_bounds {
  double output = 0;
  double weights = 0;
};

/// What a float run of a layer may be off by: a running error analysis. The layer is evaluated by
/// plain loops and products in double, and beside every matrix goes a bound on the error that its
/// entries may have in float, made by the functions of bounds.hpp from ε, the sizes, and the
/// magnitudes that occur. \see Higham, "Accuracy and Stability of Numerical Algorithms", 2002,
/// §3.3. The call has been checked: the double run of the same case comes first.
/// \throws beyond_float  when a bound says nothing.
layer_bounds float_bounds(const multi_head_call& call);
layer_bounds float_bounds(const encoder_call& call);
layer_bounds float_bounds(const decoder_call& call);

}  // namespace conformance
