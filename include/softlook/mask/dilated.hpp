#pragma once

#include <optional>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/mask/detail/band.hpp"
#include "softlook/mask/detail/divider.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup sparse_masks
/// \{

/// Every `dilation`-th key around a query:
///   j = i + t·dilation,  −left ≤ t ≤ right
///
/// \see Beltagy et al., "Longformer", 2020, section 3.1 (dilated sliding window); Child et al.,
///      "Generating Long Sequences with Sparse Transformers", 2019, section 4.3: with right = 0 and
///      left unset this is A⁽²⁾ of strided attention.
/// An unset side is unbounded. Dilation 1 is window{left, right}. Keys are computed 8 at a time for
/// a vector of queries (16 with AVX-512, float), so within the window a dilation below 24 saves
/// nothing.
struct dilated_window {
  using policy_kind = mask_kind;
  std::optional<index> left{};   ///< keys before the query
  std::optional<index> right{};  ///< keys behind it
  index dilation = 1;

  [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return shape().allows(i, j, p) && (index{j} - i) % dilation == 0;
  }
  [[nodiscard]] constexpr range key_range(range q, problem p) const {
    return shape().key_range(q, p);
  }
  /// Exact: a tile holds every distance between that of its corners.
  [[nodiscard]] constexpr coverage coverage_of(range q, range k, problem) const {
    const softlook::detail::band around = shape();
    const auto nearest = static_cast<std::int32_t>(k.begin - (q.end - 1));
    const auto farthest = static_cast<std::int32_t>((k.end - 1) - q.begin);
    const std::int32_t first = std::max(nearest, around.low);
    const std::int32_t last = std::min(farthest, around.high);
    if (first > last) return coverage::none;
    // One division, of 32 bits: it is most of what a tile is asked. The largest multiple up to
    // `last` lies `over` before it.
    const std::int32_t step = softlook::detail::band::clamp(dilation), rest = last % step;
    const std::int32_t over = rest < 0 ? rest + step : rest;
    if (over > index{last} - first) return coverage::none;
    const bool whole = first == nearest && last == farthest;
    return whole && (step == 1 || first == last) ? coverage::full : coverage::partial;
  }
  /// \throws argument_error for a negative side or a dilation below 1.
  void check(const char* where, problem) const {
    using softlook::detail::raise_argument;
    if (left.value_or(0) < 0)
      raise_argument(where, "masks::dilated_window.left", double(*left),
                     "a window reaches 0 or more keys; unset is unbounded");
    if (right.value_or(0) < 0)
      raise_argument(where, "masks::dilated_window.right", double(*right),
                     "a window reaches 0 or more keys; unset is unbounded");
    if (dilation < 1)
      raise_argument(where, "masks::dilated_window.dilation", double(dilation),
                     "neighbours are 1 or more positions apart");
  }

  struct lookup_type {
    using policy_kind = mask_kind;
    softlook::detail::band around;
    softlook::detail::divisibility steps;
    [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem p) const {
      return (int{around.allows(i, j, p)} & int{steps.divides(j - i)}) != 0;
    }
    [[nodiscard]] constexpr range key_range(range q, problem p) const {
      return around.key_range(q, p);
    }
    [[nodiscard]] constexpr coverage coverage_of(range, range, problem) const {
      return coverage::partial;
    }
  };
  [[nodiscard]] constexpr lookup_type lookup_form() const {
    using softlook::detail::band;
    return {shape(), softlook::detail::divisibility(band::clamp(dilation))};
  }

 private:
  [[nodiscard]] constexpr std::int32_t reach(index count) const {
    using softlook::detail::band;
    return count > band::unbounded / dilation ? band::unbounded : band::clamp(count * dilation);
  }
  [[nodiscard]] constexpr softlook::detail::band shape() const {
    using softlook::detail::band;
    return {left ? -reach(*left) : -band::unbounded, right ? reach(*right) : band::unbounded};
  }
};

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
