#pragma once

#include "softlook/detail/call.hpp"

// Policies of a call whose layer puts keys of its own behind the given ones: every query sees
// those, and no transform touches their scores.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

[[nodiscard]] constexpr problem without_extra_keys(problem p, std::int32_t extra) {
  p.keys -= extra;
  return p;
}

template <class Mask>
struct mask_of_given_keys {
  using policy_kind = mask_kind;
  Mask mask;
  std::int32_t extra;

  [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem p) const {
    const problem given = without_extra_keys(p, extra);
    return j >= given.keys || mask.allows(i, j, given);
  }
  [[nodiscard]] range key_range(range q, problem p) const {
    const problem given = without_extra_keys(p, extra);
    return hull(intersection(mask.key_range(q, given), {0, given.keys}), {given.keys, p.keys});
  }
  [[nodiscard]] coverage coverage_of(range q, range k, problem p) const {
    const problem given = without_extra_keys(p, extra);
    if (k.begin >= given.keys) return coverage::full;
    const range inside = intersection(k, {0, given.keys});
    const coverage seen = mask.coverage_of(q, inside, given);
    return seen == coverage::none && inside.end < k.end ? coverage::partial : seen;
  }
  void check(const char* where, problem p) const {
    if constexpr (requires { mask.check(where, p); })
      mask.check(where, without_extra_keys(p, extra));
  }
};

template <class Transform>
struct transform_of_given_keys {
  using policy_kind = transform_kind;
  Transform transform;
  std::int32_t extra;

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    const problem given = without_extra_keys(p, extra);
    return j >= given.keys ? s : static_cast<S>(transform(s, i, j, given));
  }
  void check(const char* where, problem p) const {
    if constexpr (requires { transform.check(where, p); })
      transform.check(where, without_extra_keys(p, extra));
  }
};

/// A policy as it is meant for the given keys alone.
template <class P>
[[nodiscard]] decltype(auto) for_given_keys(const P& p, [[maybe_unused]] std::int32_t extra) {
  if constexpr (mask_policy<P>)
    return mask_of_given_keys<P>{p, extra};
  else if constexpr (transform_policy<P>)
    return transform_of_given_keys<P>{p, extra};
  else
    return (p);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
