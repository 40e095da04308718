#pragma once

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup layers
/// \{

/// What a Transformer's layer normalises its rows by.
enum class norm_kind {
  layer,  ///< mean and variance, as layer_norm does
  rms     ///< the root of the mean square, as rms_norm does
};
/// \}

SOFTLOOK_NAMESPACE_END
