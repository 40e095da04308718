#pragma once

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup layers
/// \{

/// What the packed weights W of a layer of float are kept as, Ŵ. Arithmetic is float for each.
/// bfloat16 is the nearest, ties to even: |Ŵ − W| ≤ |W|/256 for normal numbers. Beyond the largest
/// one, 3.39e38, is infinity; NaN and infinity stay. int8 is the nearest whole multiple of a scale,
/// which each output (column of W) has, its largest magnitude over 127: |Ŵ − W| is at most half
/// a scale; it refuses weights that are not finite.
enum class weight_storage {
  exact,     ///< as they are given, 4 bytes each
  bfloat16,  ///< 2 bytes each
  int8       ///< 1 byte each, and 4 for an output
};

[[nodiscard]] constexpr const char* name_of(weight_storage s) {
  switch (s) {
    case weight_storage::bfloat16:
      return "bfloat16";
    case weight_storage::int8:
      return "int8";
    case weight_storage::exact:
      break;
  }
  return "exact";
}
/// \}

SOFTLOOK_NAMESPACE_END
