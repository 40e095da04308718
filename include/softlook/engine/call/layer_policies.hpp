#pragma once

#include "softlook/engine/call/layer_call.hpp"
#include "softlook/engine/call/sorted_call.hpp"

// The policies of layers with an attention inside. What they say is call_policies<T>: the score and
// the heads of that attention are the layer's own.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// The attention inside a layer: Q, K and V as they are scored.
template <class T>
[[nodiscard]] attention_call<T> inner_call(const call_policies<T>& policies,
                                           const score_recipe<T>& score, const matrix_view<T>& Q,
                                           const matrix_view<T>& K, const matrix_view<T>& V) {
  attention_call<T> call(policies);
  call.Q = Q;
  call.K = K;
  call.V = V;
  call.score = score;
  read_in_place(call);
  check_heads(call);
  check_call(call);
  return call;
}
/// What it gives, a matrix of its own.
template <class T>
[[nodiscard]] row_major<T> run_inner(attention_call<T> call) {
  row_major<T> O(call.Q.rows, call.values() * call.query_heads);
  call.O = writable_view(O);
  run(call);
  return O;
}

struct resolved_policies {
  template <class T, class F, class... Ps>
  static void resolve(const char* where, const F& f, const Ps&... ps) {
    const sorted_policies<T, Ps...> sorted(where, ps...);
    f(*sorted);
  }
};

/// The score and the heads are fixed.
struct multi_head_policies : resolved_policies {
  template <class T, class... Ps>
  static constexpr bool check() {
    constexpr bool no_score = !(score_policy<Ps> || ...);
    constexpr bool no_heads = !(is_heads<Ps> || ...);
    static_assert(no_score, "softlook: the score of a multi-head layer is scaled dot-product");
    static_assert(no_heads, "softlook: a layer has the heads that it was made with");
    if constexpr (no_score && no_heads)
      return check_policies<T, Ps...>();
    else
      return false;
  }
};

/// The score is fixed.
struct dot_policies : resolved_policies {
  template <class T, class... Ps>
  static constexpr bool check() {
    constexpr bool no_score = !(score_policy<Ps> || ...);
    static_assert(no_score, "softlook: the score of this attention is the dot product");
    if constexpr (no_score)
      return check_policies<T, Ps...>();
    else
      return false;
  }
};

/// Everything is fixed but the executor and the options.
struct unmasked_policies : resolved_policies {
  template <class T, class... Ps>
  static constexpr bool check() {
    return check_layer_policies<T, Ps...>();
  }
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
