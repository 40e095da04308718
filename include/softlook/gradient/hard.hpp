#pragma once

#include "softlook/attention/hard.hpp"
#include "softlook/gradient/attention.hpp"

// A choice has no derivative. What is learned is how probable it is: REINFORCE.

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// A baseline for REINFORCE, the moving average of earlier rewards:
///   b ← decay·b + (1 − decay)·r
/// What is subtracted from a reward without looking at the choice leaves the expected gradient as
/// it is, and makes it less noisy.
/// \see Williams, "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement
///      Learning", 1992; Xu et al., 2015, section 4.1.
struct moving_baseline {
  double decay = 0.9;
  double value = 0;

  /// r − b; then b moves. \throws argument_error  unless 0 ≤ decay ≤ 1.
  double advantage(double reward) {
    if (!(decay >= 0 && decay <= 1))
      detail::raise_argument("moving_baseline", "decay", decay, "it lies between 0 and 1");
    const double above = reward - value;
    value = decay * value + (1 - decay) * reward;
    return above;
  }
};

/// What weight_entropies_backward() returns.
template <class Matrix>
struct score_input_gradients {
  Matrix dQ;
  Matrix dK;
};

namespace detail {

/// Choices are places of keys, or −1.
template <class C>
void check_choices(const char* where, const C& choice, index queries, index keys, index heads) {
  check_sizes(where, "choice.rows()", choice.rows(), "Q.rows()", queries, "a key for each query");
  check_sizes(where, "choice.cols()", choice.cols(), "the number of query heads", heads,
              "a key for each head");
  for (index i = 0; i < choice.rows(); ++i)
    for (index h = 0; h < choice.cols(); ++h)
      if (choice(i, h) < -1 || choice(i, h) >= keys)
        raise_argument(where, "choice", double(choice(i, h)),
                       "it is the row of a key, or -1 where there is none");
}

/// Adds the gradient of the chosen scores, given that of the log-probabilities, and hands dO to the
/// chosen values.
template <class T, class Chain, class C, class G, class Matrix>
void add_choices(const attention_call<T>& c, const Chain& chain, const C& choice, const G& dlog,
                 const matrix_view<T>& dO, attention_gradients<Matrix>& g) {
  const index d = c.query_features(), e = c.values();
  const T scale = T(c.scale());
  for (index head = 0; head < c.query_heads; ++head) {
    const index of = head / c.group(), q = head * d, k = of * d;
    const problem p = c.problem_of(head);
    for (index i = 0; i < c.Q.rows; ++i) {
      const index j = choice(i, head);
      if (j < 0) continue;
      T s = 0;
      for (index x = 0; x < d; ++x) s += c.Q(i, q + x) * c.K(j, k + x);
      const T dS = dlog(i, head) * scale *
                   slope_of(chain, s * scale, c.frame.query(i), c.frame.key(j), p);
      for (index x = 0; x < d; ++x) {
        g.dQ(i, q + x) += dS * c.K(j, k + x);
        g.dK(j, k + x) += dS * c.Q(i, q + x);
      }
      for (index x = 0; x < e; ++x) g.dV(j, of * e + x) += dO(i, head * e + x);
    }
  }
}

}  // namespace detail

/// The way back through hard_attention(): of its output o_i = v_c to the chosen values, and of the
/// log-probabilities ln p_i = s_ic − L_i of the choices to queries and keys,
///   dv_c += do_i,   ds_ij = dlnp_i·([j = c] − P_ij) f'(s_ij),   P = softmax(s).
/// REINFORCE: to make a reward r larger that the choices led to, where l is made smaller,
///   dlnp_i = −λ·(r − b),  with b a baseline, as a moving_baseline is.
///
/// \see Xu et al., "Show, Attend and Tell", 2015, Eq. (10) to (12); Mnih et al., "Recurrent Models
///      of Visual Attention", 2014, Eq. (2); Williams, 1992.
/// choice: n×query heads, result.choice, of which −1 gives and gets nothing; dO: n×(query·e);
/// dlog_probability: n×query heads. A NaN among the scores of a query makes its gradient NaN.
/// \param policies  those of the call: scaled_dot or dot scores, transforms, a mask, heads, a
///                  frame, an executor, options.
/// \throws shape_error, argument_error  unless these fit, and every choice is a key or −1; as
///                  hard_attention() otherwise.
/// Cost: that of attention without values and of its way back.
template <dense_expression Q, dense_expression K, dense_expression V, class C, dense_expression G,
          dense_expression W, class... Ps>
[[nodiscard]] auto hard_attention_backward(const Q& q, const K& k, const V& v,
                                           const Eigen::MatrixBase<C>& choice, const G& dO,
                                           const W& dlog_probability, const Ps&... policies) {
  attention_gradients<plain_matrix_like<Q>> g;
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_scalars<Q, G, W>() &&
                detail::check_one_sequence<Ps...>()) {
    using T = detail::scalar_of<Q>;
    const char* where = "hard_attention_backward";
    const auto bound = detail::bind(where, q, k, v, policies...);
    const detail::attention_call<T>& c = bound.call();
    detail::check_choices(where, choice, q.rows(), k.rows(), c.query_heads);
    const auto fits = [&](const char* rows, const char* cols, const auto& X, index wanted) {
      detail::check_sizes(where, rows, X.rows(), "Q.rows()", q.rows(), "a gradient for each query");
      detail::check_sizes(where, cols, X.cols(), "the columns of the result", wanted,
                          "a gradient for each entry of the result");
    };
    fits("dO.rows()", "dO.cols()", dO, c.values() * c.query_heads);
    fits("dlog_probability.rows()", "dlog_probability.cols()", dlog_probability, c.query_heads);
    const detail::row_major<T> dlog = dlog_probability, down = -dlog;
    const detail::row_major<T> nothing(k.rows(), 0), none(q.rows(), 0);
    const auto L = attention_with_log_sum_exp(q, k, nothing, policies...).log_sum_exp;
    backward_extras<T> extras;
    extras.dL = detail::view_of(down);
    attention_backward_into(q, k, nothing, none, L, none, g, extras, policies...);
    g.dV.setZero(v.rows(), v.cols());
    const detail::readable<G> given(dO);
    detail::add_choices(c, bound.policies().transforms(), choice, dlog, given.view(), g);
  }
  return g;
}

/// The way back through weight_entropies(), given dH, n×query heads. An entropy that is added to
/// what is made larger keeps hard attention from settling too early.
///   dS_ij = −dH_i·P_ij (ln P_ij + H_i)
/// It is the way back of attention whose values are K, because H_i = L_i − scale·q_i·Σ_j P_ij k_j.
///
/// \see Xu et al., 2015, Eq. (12), λ_e.
/// \param policies  scaled_dot or dot scores, a mask, heads, a frame, an executor, options; no
///                  transforms.
/// \throws shape_error  unless dH fits; as attention() otherwise.
/// Cost: that of attention and of its way back.
template <dense_expression Q, dense_expression K, dense_expression W, class... Ps>
[[nodiscard]] auto weight_entropies_backward(const Q& q, const K& k, const W& dH,
                                             const Ps&... policies) {
  score_input_gradients<plain_matrix_like<Q>> g;
  constexpr bool plain = (!transform_policy<Ps> && ...);
  static_assert(plain, "softlook: weight_entropies_backward() takes no transforms");
  if constexpr (plain && detail::check_types<Q, K, K, Ps...>() && detail::check_scalars<Q, W>() &&
                detail::check_one_sequence<Ps...>()) {
    using T = detail::scalar_of<Q>;
    const char* where = "weight_entropies_backward";
    const auto bound = detail::bind(where, q, k, k, policies...);
    const detail::attention_call<T>& c = bound.call();
    detail::check_sizes(where, "dH.rows()", dH.rows(), "Q.rows()", q.rows(),
                        "there is one for each query");
    detail::check_sizes(where, "dH.cols()", dH.cols(), "the number of query heads", c.query_heads,
                        "there is one for each head");
    const detail::row_major<T> of_rows = dH;
    detail::row_major<T> dO(q.rows(), q.cols());
    for (index i = 0; i < dO.rows(); ++i)
      for (index x = 0; x < dO.cols(); ++x)
        dO(i, x) = -T(c.scale()) * of_rows(i, x / c.query_features()) * c.Q(i, x);
    const auto state = attention_with_log_sum_exp(q, k, k, policies...);
    auto all = attention_backward(q, k, k, state.output, state.log_sum_exp, dO, policies...);
    g.dQ = std::move(all.dQ);
    g.dK = std::move(all.dK);
  }
  return g;
}

/// \}

SOFTLOOK_NAMESPACE_END
