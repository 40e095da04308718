#pragma once

#include <type_traits>

#include "softlook/engine/call/readable.hpp"
#include "softlook/linear/detail/call.hpp"

// The policies of linear attention, sorted; from Eigen expressions to a call.

SOFTLOOK_NAMESPACE_BEGIN

/// What a policy of linear attention says it is.
struct feature_function_kind {};
struct gate_kind {};
struct update_kind {};
struct normalization_kind {};

namespace detail {

template <class P>
concept linear_policy = policy_of_kind<P, feature_function_kind> || policy_of_kind<P, gate_kind> ||
                        policy_of_kind<P, update_kind> || policy_of_kind<P, normalization_kind> ||
                        executor<P> || is_options<P> || is_heads<P>;

/// False after a message, as check_policies().
template <class T, class... Ps>
constexpr bool check_linear_policies() {
  constexpr bool known = (linear_policy<Ps> && ...);
  constexpr bool one_scalar = (scalar_fits<Ps, T>() && ...);
  constexpr bool one_of_a_kind = at_most_one<policy_of_kind<Ps, feature_function_kind>...> &&
                                 at_most_one<policy_of_kind<Ps, gate_kind>...> &&
                                 at_most_one<policy_of_kind<Ps, update_kind>...> &&
                                 at_most_one<policy_of_kind<Ps, normalization_kind>...> &&
                                 at_most_one<executor<Ps>...> && at_most_one<is_options<Ps>...> &&
                                 at_most_one<is_heads<Ps>...>;
  static_assert(known,
                "softlook: an argument of linear attention is no policy: give features::…, "
                "random_features, gates::…, updates::…, normalizations::…, heads{…}, exec::… or "
                "options{…}");
  static_assert(one_of_a_kind, "softlook: give at most one linear-attention policy of a kind");
  static_assert(one_scalar,
                "softlook: Q, K, V and the matrices of a policy must share one scalar type");
  return known && one_scalar && one_of_a_kind;
}

/// A user's feature map (a matrix of rows to a matrix of features) behind functions.
template <class T, class Map>
[[nodiscard]] feature_calls<T> calls_of_map(const Map& m) {
  feature_calls<T> calls;
  calls.self = &m;
  calls.features = [](const void* self, const char* where, index) -> index {
    const index count = static_cast<const Map*>(self)->count;
    if (count < 0) raise_argument(where, "features::map count", double(count), "it is at least 0");
    return count;
  };
  calls.apply = [](const void* self, const char* where, instruction_set, const matrix_view<T>& X,
                   bool, const mutable_matrix_view<T>& out, T*) {
    using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
    const strided_map<T, Eigen::ColMajor> rows = map_of<Eigen::ColMajor>(X);
    const matrix Y = static_cast<const Map*>(self)->f(rows);
    check_sizes(where, "features::map rows()", Y.rows(), "rows given", X.rows,
                "a row of features for each row");
    check_sizes(where, "features::map cols()", Y.cols(), "count", out.cols,
                "as many features as were announced");
    for (index i = 0; i < out.rows; ++i)
      for (index c = 0; c < out.cols; ++c) out(i, c) = Y(i, c);
  };
  return calls;
}

template <class T, class P>
void set_linear_policy(linear_call<T>& c, const P& p) {
  if constexpr (is_heads<P>) {
    c.of = p;
  } else if constexpr (is_options<P>) {
    c.opts = p;
  } else if constexpr (policy_of_kind<P, feature_function_kind>) {
    if constexpr (requires { P::feature_kind; })
      c.map.kind = P::feature_kind;
    else if constexpr (requires { p.calls(); })
      c.map = p.calls();
    else
      c.map = p.template calls<T>();
  } else if constexpr (policy_of_kind<P, gate_kind>) {
    c.gate = p.view;
    c.log_gate = P::logarithmic;
  } else if constexpr (policy_of_kind<P, update_kind>) {
    if constexpr (requires { p.view; }) c.strength = p.view;
  } else if constexpr (policy_of_kind<P, normalization_kind>) {
    c.divisor = P::divisor;
    if constexpr (requires { p.epsilon; }) c.epsilon = p.epsilon;
  }
}

/// What the public functions differ in.
struct linear_form {
  const char* where;
  bool causal;
  bool fast_weights;  // defaults: φ(x) = x, no divisor
};

/// A call of these matrices, with what its policies say; its output is not set.
template <class T, class... Ps>
[[nodiscard]] linear_call<T> linear_call_of(const linear_form& form, const matrix_view<T>& Q,
                                            const matrix_view<T>& K, const matrix_view<T>& V,
                                            const Ps&... policies) {
  linear_call<T> c;
  c.where = form.where;
  c.causal = form.causal;
  c.Q = Q;
  c.K = K;
  c.V = V;
  c.exec = exec_of(policies...);
  c.map.kind = form.fast_weights ? feature_kind::as_given : feature_kind::elu_plus_one;
  c.divisor = form.fast_weights ? divisor_kind::one : divisor_kind::sum;
  (set_linear_policy(c, policies), ...);
  return c;
}

template <class Q, class K, class V, class O, class State, class... Ps>
void linear_into(const linear_form& form, const Q& q, const K& k, const V& v, O& o, State* state,
                 const Ps&... policies) {
  using T = scalar_of<Q>;
  if constexpr (check_scalars<Q, K, V, O>() && check_linear_policies<T, Ps...>()) {
    const readable<Q> queries(q);
    const readable<K> keys(k);
    const readable<V> values(v);
    linear_call<T> c =
        linear_call_of<T>(form, queries.view(), keys.view(), values.view(), policies...);
    c.O = writable_view(o);
    if (state) {
      check_sizes(form.where, "state.heads()", state->heads(), "heads.kv", c.kv(),
                  "a state for each head of keys and values");
      state->lend(c);
    }
    run_linear(c);
  }
}

/// No state outlives the call.
struct nothing_kept {
  [[nodiscard]] static index heads() { return 0; }
  template <class T>
  void lend(linear_call<T>&) const {}
};
inline constexpr const nothing_kept* no_state = nullptr;

template <class Q, class K, class V, class State, class... Ps>
[[nodiscard]] auto linear_value(const linear_form& form, const Q& q, const K& k, const V& v,
                                State* state, const Ps&... policies) {
  if constexpr (check_scalars<Q, K, V>() && check_linear_policies<scalar_of<Q>, Ps...>()) {
    plain_matrix_like<Q> o(q.rows(), output_columns(v.cols(), policies...));
    linear_into(form, q, k, v, o, state, policies...);
    return o;
  }
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
