#pragma once

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup sparse_masks
/// \{

/// All pairs of some heads and none of the others: head mod every = first. It gives heads masks of
/// their own: `(a & of_heads{.every = 2}) | (b & of_heads{.every = 2, .first = 1})`.
struct of_heads {
  using policy_kind = mask_kind;
  index every = 2;
  index first = 0;

  [[nodiscard]] constexpr bool allows(std::int32_t, std::int32_t, problem p) const {
    return p.head % every == first;
  }
  [[nodiscard]] constexpr range key_range(range, problem p) const {
    return allows(0, 0, p) ? range{0, p.keys} : range{};
  }
  [[nodiscard]] constexpr coverage coverage_of(range, range, problem p) const {
    return allows(0, 0, p) ? coverage::full : coverage::none;
  }
  /// \throws argument_error unless every ≥ 1 and 0 ≤ first < every.
  void check(const char* where, problem) const {
    if (every < 1)
      softlook::detail::raise_argument(where, "masks::of_heads.every", double(every),
                                       "it must be at least 1");
    if (first < 0 || first >= every)
      softlook::detail::raise_argument(
          where, "masks::of_heads.first", double(first),
          "it must lie between 0 and every - 1 = " + std::to_string(every - 1));
  }
};

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
