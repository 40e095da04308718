#pragma once

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup layers
/// \{

/// What a layer applies to every number of its product.
///   relu       max(0, x)
///   gelu       x·Φ(x) = x·(1 + erf(x/√2))/2, exact (Hendrycks and Gimpel, 2016)
///   gelu_tanh  x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2, its approximation in the same paper
///   silu       x/(1 + e^{−x}) (Hendrycks and Gimpel, 2016; Ramachandran et al., 2017, "Swish")
enum class activation { none, relu, gelu, gelu_tanh, silu };

[[nodiscard]] constexpr const char* name_of(activation f) {
  switch (f) {
    case activation::relu:
      return "relu";
    case activation::gelu:
      return "gelu";
    case activation::gelu_tanh:
      return "gelu_tanh";
    case activation::silu:
      return "silu";
    case activation::none:
      break;
  }
  return "none";
}
/// \}

SOFTLOOK_NAMESPACE_END
