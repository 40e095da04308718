#pragma once

#include "softlook/core/concepts.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup masks
/// \{

/// Every query sees every key.
struct none {
  using policy_kind = mask_kind;
  [[nodiscard]] constexpr bool allows(std::int32_t, std::int32_t, problem) const { return true; }
  [[nodiscard]] constexpr range key_range(range, problem p) const { return {0, p.keys}; }
  [[nodiscard]] constexpr coverage coverage_of(range, range, problem) const {
    return coverage::full;
  }
};

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
