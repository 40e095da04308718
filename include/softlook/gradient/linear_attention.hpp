#pragma once

#include "softlook/gradient/detail/linear_attention.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// Gradients of linear attention, in the forms of what they belong to; empty where there is none.
template <class T>
struct linear_attention_gradients {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix dQ{}, dK{}, dV{};
  matrix dgate{};      ///< of log_decay's G, or of decay's γ as a row
  matrix dstrength{};  ///< of delta's β
};

namespace detail {

template <class T, class P>
void set_feature_slopes(feature_slopes<T>& slopes, const P& p) {
  if constexpr (is_random_features<P>) {
    slopes = slopes_of_random(p);
  } else if constexpr (policy_of_kind<P, feature_function_kind> && !requires { P::feature_kind; }) {
    constexpr bool has_backward =
        requires(const strided_map<T, int(Eigen::ColMajor)>& X) { p.f.backward(X, X); };
    static_assert(has_backward,
                  "softlook: the way back of linear attention needs the f of features::map to have "
                  "backward(X, dY), which gives dX");
    if constexpr (has_backward) slopes = slopes_of_map<T>(p);
  }
}

template <class T>
void linear_gradients_into(linear_call<T>& c, const feature_slopes<T>& slopes,
                           const matrix_view<T>& dO, const layer_call& call,
                           const linear_state<T>* first, linear_state<T>* dstate,
                           linear_attention_gradients<T>& g) {
  const char* where = c.where;
  check_linear_heads(c);
  const index features = c.features();
  check_linear_inputs(c, features);
  check_sizes(where, "dO.rows()", dO.rows, "Q.rows()", c.Q.rows, "a gradient for each query");
  check_sizes(where, "dO.cols()", dO.cols, "V.cols() of each query head", c.values() * c.of.query,
              "a gradient for each entry of the output");
  for (const linear_state<T>* state : {first, static_cast<const linear_state<T>*>(dstate)}) {
    if (!state) continue;
    check_sizes(where, "state.heads()", state->heads(), "heads.kv", c.kv(),
                "a state for each head of keys and values");
    check_sizes(where, "state.features()", state->features(), "the number of features", features,
                "a state belongs to one feature map");
    check_sizes(where, "state.values()", state->values(), "V.cols()", c.values(),
                "a state belongs to one size of values");
  }
  g.dQ.resize(c.Q.rows, c.Q.cols);
  g.dK.resize(c.K.rows, c.K.cols);
  g.dV.resize(c.V.rows, c.V.cols);
  g.dgate.setZero(c.gate.data ? c.gate.rows : 0, c.gate.data ? c.gate.cols : 0);
  g.dstrength.setZero(c.strength.data ? c.strength.rows : 0, c.strength.data ? c.kv() : 0);
  const linear_results<T> to{writable_view(g.dQ), writable_view(g.dK), writable_view(g.dV),
                             writable_view(g.dgate), writable_view(g.dstrength)};
  const linear_backward_run<T> run(c, slopes, dO, to, call);
  if (c.causal)
    run.run_in_order(first, dstate);
  else
    run.run_without_order();
  // One strength for all heads.
  for (index h = 1; c.strength.data && c.strength.cols == 1 && h < g.dstrength.cols(); ++h)
    g.dstrength.col(0) += g.dstrength.col(h);
  if (c.strength.data) g.dstrength.conservativeResize(Eigen::NoChange, c.strength.cols);
}

template <class Q, class K, class V, class G, class... Ps>
[[nodiscard]] auto linear_gradients(const linear_form& form, const Q& q, const K& k, const V& v,
                                    const G& dO, const linear_state<scalar_of<Q>>* first,
                                    linear_state<scalar_of<Q>>* dstate, const Ps&... policies) {
  using T = scalar_of<Q>;
  linear_attention_gradients<T> g;
  if constexpr (check_scalars<Q, K, V, G>() && check_linear_policies<T, Ps...>()) {
    const readable<Q> queries(q);
    const readable<K> keys(k);
    const readable<V> values(v);
    const readable<G> given(dO);
    linear_call<T> c =
        linear_call_of<T>(form, queries.view(), keys.view(), values.view(), policies...);
    feature_slopes<T> slopes;
    (set_feature_slopes(slopes, policies), ...);
    const layer_call call{form.where, c.exec, c.opts, chosen_instruction_set(form.where, c.opts)};
    linear_gradients_into(c, slopes, given.view(), call, first, dstate, g);
  }
  return g;
}

}  // namespace detail

/// The gradients of linear_attention(), given that of its output: dO, n×(query·e). Policies are
/// those of the way forward; of a features::map, f has also backward(X, dY), which gives dX. With
/// random_features it is the Performer's, given its projection.
/// \throws shape_error, argument_error  as linear_attention(), and unless dO fits.
/// Cost: O((n + m)·d·e) time, memory linear in n and m.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression G,
          class... Ps>
[[nodiscard]] auto linear_attention_backward(const Q& q, const K& k, const V& v, const G& dO,
                                             const Ps&... policies) {
  return detail::linear_gradients({"linear_attention_backward", false, false}, q, k, v, dO, nullptr,
                                  nullptr, policies...);
}

/// The gradients of causal_linear_attention(). With states: `first` is the state before the first
/// token, and dstate the gradient of the state after the last one, which becomes that of `first`.
/// An executor is given heads. Cost: O(n·d·e) time, that of the way forward twice and one pass
/// back; memory n·d and 2·√n states for each worker.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression G,
          class... Ps>
[[nodiscard]] auto causal_linear_attention_backward(const Q& q, const K& k, const V& v, const G& dO,
                                                    const Ps&... policies) {
  return detail::linear_gradients({"causal_linear_attention_backward", true, false}, q, k, v, dO,
                                  nullptr, nullptr, policies...);
}
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression G,
          class... Ps>
[[nodiscard]] auto causal_linear_attention_backward(const Q& q, const K& k, const V& v, const G& dO,
                                                    const linear_state<detail::scalar_of<Q>>& first,
                                                    linear_state<detail::scalar_of<Q>>& dstate,
                                                    const Ps&... policies) {
  return detail::linear_gradients({"causal_linear_attention_backward", true, false}, q, k, v, dO,
                                  &first, &dstate, policies...);
}

/// The gradients of fast_weights(), as causal_linear_attention_backward().
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression G,
          class... Ps>
[[nodiscard]] auto fast_weights_backward(const Q& q, const K& k, const V& v, const G& dO,
                                         const Ps&... policies) {
  return detail::linear_gradients({"fast_weights_backward", true, true}, q, k, v, dO, nullptr,
                                  nullptr, policies...);
}
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression G,
          class... Ps>
[[nodiscard]] auto fast_weights_backward(const Q& q, const K& k, const V& v, const G& dO,
                                         const linear_state<detail::scalar_of<Q>>& first,
                                         linear_state<detail::scalar_of<Q>>& dstate,
                                         const Ps&... policies) {
  return detail::linear_gradients({"fast_weights_backward", true, true}, q, k, v, dO, &first,
                                  &dstate, policies...);
}

/// \}

SOFTLOOK_NAMESPACE_END
