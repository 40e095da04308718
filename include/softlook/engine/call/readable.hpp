#pragma once

#include <type_traits>

#include "softlook/engine/call/policies.hpp"

// Eigen expressions as views.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// An input as a view: the expression's own memory where it has strides, else a matrix evaluated
/// once.
template <class X>
class readable {
 public:
  using scalar = scalar_of<X>;
  explicit readable(const X& x) : held_(x) {}
  [[nodiscard]] matrix_view<scalar> view() const {
    if constexpr (has_strides<X>)
      return view_of(held_);
    else
      return {held_.data(), held_.rows(), held_.cols(), held_.rowStride(), held_.colStride()};
  }

 private:
  std::conditional_t<has_strides<X>, const X&, const plain_matrix_like<X>> held_;
};

template <class X>
[[nodiscard]] mutable_matrix_view<scalar_of<X>> writable_view(X& x) {
  static_assert(has_strides<X>,
                "softlook: the output must be a matrix, block or map whose memory can be written");
  static_assert((int(std::remove_cvref_t<X>::Flags) & int(Eigen::LvalueBit)) != 0,
                "softlook: the output must be a matrix, block or map whose memory can be written");
  return {x.derived().data(), x.rows(), x.cols(), x.derived().rowStride(), x.derived().colStride()};
}

template <class X, class... Xs>
constexpr bool check_scalars() {
  constexpr bool real = real_scalar<scalar_of<X>> && (real_scalar<scalar_of<Xs>> && ...);
  constexpr bool same = (std::is_same_v<scalar_of<Xs>, scalar_of<X>> && ...);
  static_assert(real, "softlook: attention is computed in float or double; cast the inputs first");
  static_assert(same || !real, "softlook: Q, K, V and the output must share one scalar type");
  return real && same;
}

/// Scalars of the inputs, policies of the rest.
template <class Q, class K, class V, class... Ps>
constexpr bool check_types() {
  if constexpr (check_scalars<Q, K, V>())
    return check_policies<scalar_of<Q>, Ps...>();
  else
    return false;
}

/// The columns of an output whose heads have not been checked yet.
template <class... Ps>
[[nodiscard]] index output_columns(index value_columns, const Ps&... policies) {
  const heads h = heads_of(policies...);
  return h.query > 0 && h.kv_or_query() > 0 ? value_columns / h.kv_or_query() * h.query : 0;
}

/// The place of V in calls that need no values.
struct no_values {};

template <>
class readable<no_values> {
 public:
  explicit readable(const no_values&) {}
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
