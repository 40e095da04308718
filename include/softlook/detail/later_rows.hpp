#pragma once

#include <tuple>

#include "softlook/detail/call.hpp"

// Policies of a call whose queries are the last rows of a longer problem: a decoder that adds rows
// to those it has kept.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// The problem whose last queries these are.
[[nodiscard]] constexpr problem with_earlier_rows(problem p, std::int32_t earlier) {
  p.queries += earlier;
  return p;
}

template <class Mask>
struct mask_of_later_rows {
  using policy_kind = mask_kind;
  Mask mask;
  std::int32_t earlier;

  [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return mask.allows(i + earlier, j, with_earlier_rows(p, earlier));
  }
  [[nodiscard]] range key_range(range q, problem p) const {
    return mask.key_range({q.begin + earlier, q.end + earlier}, with_earlier_rows(p, earlier));
  }
  [[nodiscard]] coverage coverage_of(range q, range k, problem p) const {
    return mask.coverage_of({q.begin + earlier, q.end + earlier}, k, with_earlier_rows(p, earlier));
  }
  void check(const char* where, problem p) const {
    if constexpr (requires { mask.check(where, p); })
      mask.check(where, with_earlier_rows(p, earlier));
  }
};

template <class Transform>
struct transform_of_later_rows {
  using policy_kind = transform_kind;
  Transform transform;
  std::int32_t earlier;

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    return static_cast<S>(transform(s, i + earlier, j, with_earlier_rows(p, earlier)));
  }
  void check(const char* where, problem p) const {
    if constexpr (requires { transform.check(where, p); })
      transform.check(where, with_earlier_rows(p, earlier));
  }
};

/// Masks and transforms as they are meant for the whole problem.
template <class... Ps>
[[nodiscard]] auto for_later_rows(const std::tuple<Ps...>& given, std::int32_t earlier) {
  const auto later = [earlier](const auto& p) {
    using P = std::remove_cvref_t<decltype(p)>;
    if constexpr (mask_policy<P>)
      return mask_of_later_rows<P>{p, earlier};
    else
      return transform_of_later_rows<P>{p, earlier};
  };
  return std::apply([&](const Ps&... ps) { return std::make_tuple(later(ps)...); }, given);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
