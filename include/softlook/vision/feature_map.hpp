#pragma once

#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup vision_gates
/// \{

/// The shape of a picture or of a layer's feature map, which is a matrix channels × (height·width):
/// pixel (y, x) is column y·width + x. Pictures of one batch are separate matrices.
struct map_size {
  index height = 0;
  index width = 0;
  [[nodiscard]] constexpr index pixels() const { return height * width; }
  friend constexpr bool operator==(map_size, map_size) = default;
};

/// What a gate knows of a channel (over its pixels) or of a pixel (over its channels).
///   mean               the mean                                     (SE)
///   mean_and_max       the mean, and the largest value by itself    (CBAM)
///   mean_max_average   half the mean plus half the largest value    (light CBAM)
enum class pooled { mean, mean_and_max, mean_max_average };

/// The squashing function of a gate, from any number to [0, 1].
///   sigmoid        1/(1 + e^−x)
///   hard_sigmoid   min(max(x + 3, 0), 6)/6
enum class gate_function { sigmoid, hard_sigmoid };

/// \}

SOFTLOOK_NAMESPACE_END
