#pragma once

#include <optional>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/mask/detail/band.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup masks
/// \{

/// The keys around a query, both ends inclusive:
///   i + offset − left ≤ j ≤ i + offset + right
///
/// The convention of FlashAttention and ONNX (opset 25): left = 2, right = 0 are three keys. An
/// unset side is unbounded. offset 0 aligns the first query with the first key, m − n the last with
/// the last. For windows that count the query itself (Hugging Face) see window_of.
struct window {
  using policy_kind = mask_kind;
  std::optional<index> left{};
  std::optional<index> right{};
  index offset = 0;

  [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return shape().allows(i, j, p);
  }
  [[nodiscard]] constexpr range key_range(range q, problem p) const {
    return shape().key_range(q, p);
  }
  [[nodiscard]] constexpr coverage coverage_of(range q, range k, problem p) const {
    return shape().coverage_of(q, k, p);
  }
  [[nodiscard]] constexpr softlook::detail::band lookup_form() const { return shape(); }
  /// \throws argument_error for a negative side.
  void check(const char* where, problem) const {
    if (left.value_or(0) < 0)
      softlook::detail::raise_argument(where, "masks::window.left", double(*left),
                                       "a window reaches 0 or more keys; unset is unbounded");
    if (right.value_or(0) < 0)
      softlook::detail::raise_argument(where, "masks::window.right", double(*right),
                                       "a window reaches 0 or more keys; unset is unbounded");
  }

 private:
  [[nodiscard]] constexpr softlook::detail::band shape() const {
    using softlook::detail::band;
    constexpr index far = 2 * index{band::unbounded};  // keeps the sums below from overflowing
    const index at = band::clamp(offset);
    return {left ? band::clamp(at - std::min(*left, far)) : -band::unbounded,
            right ? band::clamp(at + std::min(*right, far)) : band::unbounded};
  }
};

/// The last `count` keys up to and including the query's own position (Hugging Face's sliding
/// window): window{.left = count − 1, .right = 0}.
[[nodiscard]] inline window window_of(index count) {
  if (count < 1)
    softlook::detail::raise_argument("masks::window_of", "count", double(count),
                                     "the window holds the query itself, so at least 1");
  return {.left = count - 1, .right = 0, .offset = 0};
}

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
