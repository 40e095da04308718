#pragma once

#include "softlook/core/concepts.hpp"
#include "softlook/mask/detail/band.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \defgroup masks Masks
/// Which pairs of a query and a key interact. Tiles that a mask forbids are never computed.
/// \cases tests/conformance/data/torch/sdpa, tests/conformance/data/other/flash_attention,
///        tests/conformance/data/other/masked_softmax
/// \program examples/custom_score_and_mask.cpp
/// \{

/// Keys up to a diagonal (ONNX):
///   j ≤ i + offset
/// A negative offset leaves the leading rows without a key: zero rows.
struct causal {
  using policy_kind = mask_kind;
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

 private:
  [[nodiscard]] constexpr softlook::detail::band shape() const {
    return {.high = softlook::detail::band::clamp(offset)};
  }
};

/// The first query sees the first key (PyTorch is_causal, JAX, Keras):
///   j ≤ i
struct causal_top_left {
  using policy_kind = mask_kind;

  [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem) const {
    return j <= i;
  }
  [[nodiscard]] constexpr range key_range(range q, problem p) const {
    return softlook::detail::band{.high = 0}.key_range(q, p);
  }
  [[nodiscard]] constexpr coverage coverage_of(range q, range k, problem p) const {
    return softlook::detail::band{.high = 0}.coverage_of(q, k, p);
  }
};

/// The last query sees every key (FlashAttention ≥ 2.1, decoding with a cache):
///   j ≤ i + m − n
struct causal_bottom_right {
  using policy_kind = mask_kind;

  [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return j - i <= p.keys - p.queries;
  }
  [[nodiscard]] constexpr range key_range(range q, problem p) const {
    return softlook::detail::band{.high = p.keys - p.queries}.key_range(q, p);
  }
  [[nodiscard]] constexpr coverage coverage_of(range q, range k, problem p) const {
    return softlook::detail::band{.high = p.keys - p.queries}.coverage_of(q, k, p);
  }
};

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
