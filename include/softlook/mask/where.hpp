#pragma once

#include <type_traits>
#include <utility>

#include "softlook/core/concepts.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup masks
/// \{

/// The pairs for which a user's predicate f(i, j), f(i, j, head) or f(i, j, problem) holds; it may
/// hold parameters of its own. Positions are std::int32_t. Called for every pair, so key ranges and
/// whole tiles are never skipped: combine it with a mask that knows its shape
/// (`where(f) & causal_top_left{}`) where one exists.
template <class F>
struct where {
  using policy_kind = mask_kind;
  static constexpr bool takes_head =
      std::is_invocable_r_v<bool, const F&, std::int32_t, std::int32_t, std::int32_t>;
  static constexpr bool takes_problem =
      std::conjunction_v<std::bool_constant<!takes_head>,
                         std::is_invocable_r<bool, const F&, std::int32_t, std::int32_t, problem>>;
  static_assert(takes_head || takes_problem ||
                    std::is_invocable_r_v<bool, const F&, std::int32_t, std::int32_t>,
                "softlook: masks::where takes f(i, j), f(i, j, head) or f(i, j, problem) that "
                "returns bool");
  F predicate;

  explicit where(F f) : predicate(std::move(f)) {}

  [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem p) const {
    if constexpr (takes_head)
      return predicate(i, j, p.head);
    else if constexpr (takes_problem)
      return predicate(i, j, p);
    else
      return predicate(i, j);
  }
  [[nodiscard]] range key_range(range, problem p) const { return {0, p.keys}; }
  [[nodiscard]] coverage coverage_of(range, range, problem) const { return coverage::partial; }
};

template <class F>
where(F) -> where<F>;

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
