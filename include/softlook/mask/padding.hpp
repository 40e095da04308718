#pragma once

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup masks
/// \{

/// Only the first `length` keys are real; the rest is padding.
struct padding {
  using policy_kind = mask_kind;
  index length = 0;

  [[nodiscard]] constexpr bool allows(std::int32_t, std::int32_t j, problem) const {
    return j < static_cast<std::int32_t>(length);
  }
  [[nodiscard]] constexpr range key_range(range, problem) const { return {0, length}; }
  [[nodiscard]] constexpr coverage coverage_of(range, range k, problem) const {
    if (k.begin >= length) return coverage::none;
    return k.end <= length ? coverage::full : coverage::partial;
  }
  /// \throws argument_error unless 0 ≤ length ≤ number of keys.
  void check(const char* where, problem p) const {
    if (length < 0 || length > p.keys)
      softlook::detail::raise_argument(
          where, "masks::padding.length", double(length),
          softlook::detail::formatted("it must lie between 0 and the number of keys, %d",
                                      int(p.keys))
              .text);
  }
};

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
