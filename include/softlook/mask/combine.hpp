#pragma once

#include "softlook/core/concepts.hpp"
#include "softlook/mask/detail/band.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup masks
/// \{

/// Pairs that both masks allow:  a & b.
template <mask_policy A, mask_policy B>
struct both {
  using policy_kind = mask_kind;
  static constexpr bool is_intersection = true;  // kernels may ask a and b one after the other
  A a;
  B b;
  [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return (int{a.allows(i, j, p)} & int{b.allows(i, j, p)}) != 0;  // no branch: it vectorises
  }
  [[nodiscard]] constexpr range key_range(range q, problem p) const {
    return intersection(a.key_range(q, p), b.key_range(q, p));
  }
  [[nodiscard]] constexpr coverage coverage_of(range q, range k, problem p) const {
    const coverage in_a = a.coverage_of(q, k, p), in_b = b.coverage_of(q, k, p);
    if (in_a == coverage::none || in_b == coverage::none) return coverage::none;
    return in_a == coverage::full ? in_b : coverage::partial;
  }
  [[nodiscard]] constexpr auto lookup_form() const {
    return both<decltype(softlook::detail::lookup_form(a)),
                decltype(softlook::detail::lookup_form(b))>{softlook::detail::lookup_form(a),
                                                            softlook::detail::lookup_form(b)};
  }
  void check(const char* where, problem p) const {
    softlook::detail::check_policy(a, where, p);
    softlook::detail::check_policy(b, where, p);
  }
};

/// Pairs that either mask allows:  a | b.
template <mask_policy A, mask_policy B>
struct either {
  using policy_kind = mask_kind;
  static constexpr bool is_union = true;  // kernels ask the one that is not `none` of a tile
  A a;
  B b;
  [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return (int{a.allows(i, j, p)} | int{b.allows(i, j, p)}) != 0;
  }
  [[nodiscard]] constexpr range key_range(range q, problem p) const {
    return hull(a.key_range(q, p), b.key_range(q, p));
  }
  [[nodiscard]] constexpr coverage coverage_of(range q, range k, problem p) const {
    const coverage in_a = a.coverage_of(q, k, p), in_b = b.coverage_of(q, k, p);
    if (in_a == coverage::full || in_b == coverage::full) return coverage::full;
    return in_a == coverage::none ? in_b : coverage::partial;
  }
  [[nodiscard]] constexpr auto lookup_form() const {
    return either<decltype(softlook::detail::lookup_form(a)),
                  decltype(softlook::detail::lookup_form(b))>{softlook::detail::lookup_form(a),
                                                              softlook::detail::lookup_form(b)};
  }
  void check(const char* where, problem p) const {
    softlook::detail::check_policy(a, where, p);
    softlook::detail::check_policy(b, where, p);
  }
};

/// Pairs that the mask forbids:  !a.
template <mask_policy A>
struct complement {
  using policy_kind = mask_kind;
  A a;
  [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return !a.allows(i, j, p);
  }
  [[nodiscard]] constexpr range key_range(range, problem p) const { return {0, p.keys}; }
  [[nodiscard]] constexpr coverage coverage_of(range q, range k, problem p) const {
    switch (a.coverage_of(q, k, p)) {
      case coverage::none:
        return coverage::full;
      case coverage::full:
        return coverage::none;
      case coverage::partial:
        break;
    }
    return coverage::partial;
  }
  [[nodiscard]] constexpr auto lookup_form() const {
    return complement<decltype(softlook::detail::lookup_form(a))>{softlook::detail::lookup_form(a)};
  }
  void check(const char* where, problem p) const { softlook::detail::check_policy(a, where, p); }
};

template <mask_policy A, mask_policy B>
[[nodiscard]] constexpr both<A, B> operator&(const A& a, const B& b) {
  return {a, b};
}
template <mask_policy A, mask_policy B>
[[nodiscard]] constexpr either<A, B> operator|(const A& a, const B& b) {
  return {a, b};
}
template <mask_policy A>
[[nodiscard]] constexpr complement<A> operator!(const A& a) {
  return {a};
}

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
