#pragma once

#include "softlook/core/concepts.hpp"
#include "softlook/score/recipe.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace scores {

/// \defgroup multiplicative Multiplicative attention (Luong)
/// A query and a key are scored by their product: dot, scaled, through a matrix, or as a cosine.
/// \cases tests/conformance/data/luong_bahdanau
/// \program examples/alignment.cpp
/// \{

/// Scaled dot product; options::scale replaces 1/√d:
///   s = q·k / √d
/// \see Vaswani et al., "Attention Is All You Need", 2017, Eq. (1).
struct scaled_dot {
  using policy_kind = score_kind;
  static constexpr bool is_additive = false;
  static constexpr bool projects = false;
  template <real_scalar T>
  [[nodiscard]] softlook::detail::score_recipe<T> recipe(const char*, index, index) const {
    return {.scale_by_root = true};
  }
};

/// Dot product:
///   s = q·k
/// \see Luong et al., "Effective Approaches to Attention-based NMT", 2015, Eq. (8), dot.
struct dot {
  using policy_kind = score_kind;
  static constexpr bool is_additive = false;
  static constexpr bool projects = false;
  template <real_scalar T>
  [[nodiscard]] softlook::detail::score_recipe<T> recipe(const char*, index, index) const {
    return {};
  }
};

/// The cosine of the angle between query and key; a zero vector scores 0:
///   s = q·k / (|q| |k|)
/// \see Graves et al., "Neural Turing Machines", 2014, Eq. (6); options::scale is their β.
struct cosine {
  using policy_kind = score_kind;
  static constexpr bool is_additive = false;
  template <real_scalar T>
  [[nodiscard]] softlook::detail::score_recipe<T> recipe(const char*, index, index) const {
    return {.unit_rows = true};
  }
};

/// \}

}  // namespace scores
SOFTLOOK_NAMESPACE_END
