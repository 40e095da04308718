#pragma once

#include "softlook/core/concepts.hpp"

// Policies of a whole call, asked in a call on some of its rows.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Where the rows and keys of a partial call lie in the whole one: row i is row `rows[i]`, or
/// `first_row + i` where there is no list; key j is key `first_key + j`.
struct placement {
  const std::int32_t* rows = nullptr;
  std::int32_t first_row = 0;
  std::int32_t first_key = 0;
  std::int32_t queries = 0;
  std::int32_t keys = 0;

  [[nodiscard]] std::int32_t row(std::int32_t i) const { return rows ? rows[i] : first_row + i; }
  [[nodiscard]] std::int32_t key(std::int32_t j) const { return first_key + j; }
  [[nodiscard]] problem whole(problem p) const {
    p.queries = queries;
    p.keys = keys;
    return p;
  }
};

template <class F>
struct placed_transform {
  using policy_kind = transform_kind;
  const F& given;
  placement at;

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t i, std::int32_t j, problem p) const {
    return given(s, at.row(i), at.key(j), at.whole(p));
  }
  void check(const char* where, problem p) const {
    if constexpr (requires { given.check(where, p); }) given.check(where, at.whole(p));
  }
};

template <class M>
struct placed_mask {
  using policy_kind = mask_kind;
  const M& given;
  placement at;

  [[nodiscard]] bool allows(std::int32_t i, std::int32_t j, problem p) const {
    return given.allows(at.row(i), at.key(j), at.whole(p));
  }
  [[nodiscard]] range key_range(range, problem p) const { return {0, p.keys}; }
  [[nodiscard]] coverage coverage_of(range, range, problem) const { return coverage::partial; }
  void check(const char* where, problem p) const {
    if constexpr (requires { given.check(where, p); }) given.check(where, at.whole(p));
  }
};

/// A transform or a mask placed, any other policy itself.
template <class P>
[[nodiscard]] decltype(auto) placed(const P& policy, const placement& at) {
  if constexpr (transform_policy<P>)
    return placed_transform<P>{policy, at};
  else if constexpr (mask_policy<P>)
    return placed_mask<P>{policy, at};
  else
    return (policy);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
