#pragma once

#include <functional>
#include <optional>
#include <type_traits>

#include "softlook/attention/attention.hpp"
#include "softlook/core/dual.hpp"
#include "softlook/engine/run/run_backward.hpp"
#include "softlook/gradient/detail/products.hpp"
#include "softlook/gradient/score_weights.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What attention_backward returns: gradients of the shapes of Q, K and V.
template <class Matrix>
struct attention_gradients {
  Matrix dQ;
  Matrix dK;
  Matrix dV;
};

/// Gradients of scores, of some queries and keys of a head: dS(i, j) is dl/ds of query first_query
/// + i and key first_key + j of the call, behind the transforms, and S(i, j) the score before them.
template <class T>
using score_gradients = detail::score_gradient_block<T>;

/// What attention_backward_into() is given, and asked for, besides. Gradients of what stands in
/// policies are sums of dS, which a visitor takes:
///   dB(i, j) = Σ dS(i, j),  of an ALiBi slope −Σ dS·|i + m − n − j|,  of a bucket Σ dS in it,
///   of a factor t of scores, S·t: Σ dS·S
template <class T>
struct backward_extras {
  /// dl/dL, n or n×heads, of the log-sum-exp.
  std::optional<matrix_view<T>> dL{};
  /// dl/dsink of each query head; a vector of as many entries as sinks.
  double* dsinks = nullptr;
  /// Takes every live block once. With an executor blocks of different heads or keys come from
  /// several threads; those of the same keys come in the order of the queries' rounds.
  std::function<void(const score_gradients<T>&, index head)> scores{};
  /// Where gradients of the score's weights go, if it has any.
  score_weight_gradients<T> weights{};
};

namespace detail {

template <class Transform>
inline constexpr bool only_shifts = false;
template <class... Fs>
inline constexpr bool only_shifts<transform_chain<Fs...>> =
    ((only_adds<Fs> || requires { Fs::is_shift; }) && ...);

/// f'(s) of the transforms of a score.
template <class T, class Chain>
[[nodiscard]] T slope_of(const Chain& chain, T s, index i, index j, const problem& p) {
  if constexpr (only_shifts<Chain>)
    return T(1);
  else
    return chain(math::dual<T>{s, T(1)}, std::int32_t(i), std::int32_t(j), p).derivative;
}

/// The derivative of the transforms, where it is not 1.
template <class T, class Stated>
void add_derivative(attention_call<T>& c, const Stated& policies) {
  using chain = std::remove_cvref_t<decltype(policies.transforms())>;
  if constexpr (!only_shifts<chain>) set_derivative<T, chain>(c.policy.transform, c.isa);
}

template <class T>
void check_backward(const attention_call<T>& c, const backward_matrices<T>& b) {
  const auto same = [&](const char* what, index size, const char* of, index wanted,
                        const char* rule) { check_sizes(c.where, what, size, of, wanted, rule); };
  const index e = c.values() * c.query_heads;
  same("O.rows()", b.O.rows, "Q.rows()", c.Q.rows, "O is the output of the call");
  same("O.cols()", b.O.cols, "the output's columns", e, "O is the output of the call");
  same("dO.rows()", b.dO.rows, "Q.rows()", c.Q.rows, "dO has the shape of the output");
  same("dO.cols()", b.dO.cols, "the output's columns", e, "dO has the shape of the output");
  const auto of_rows = [&](const char* rows, const char* cols, const matrix_view<T>& L) {
    same(rows, L.rows, "Q.rows()", c.Q.rows, "there is one for each query");
    same(cols, L.cols, "the number of query heads", c.query_heads, "there is one for each head");
  };
  of_rows("log_sum_exp.rows()", "log_sum_exp.cols()", b.log_sum_exp);
  if (b.dL.data) of_rows("dL.rows()", "dL.cols()", b.dL);
  if (b.dsinks && !c.sinks.logits.data)
    raise<argument_error>("attention_backward: dsinks are asked for, but no sinks are given");
}

}  // namespace detail

/// The way back through attention(): from O = attention(Q, K, V, policies…), its log-sum-exp L and
/// dO = dl/dO of some number l the gradients dl/dQ, dl/dK, dl/dV:
///   P = e^{S − L},  dV = Pᵀ dO,  dS = P ∘ (dO Vᵀ − D) ∘ f'(S),  D_i = Σ_c dO_ic O_ic − dL_i
///   dot:       dQ = scale · dS K,  dK = scale · dSᵀ Q
///   additive:  dQ_ia = scale · v_a Σ_j dS_ij (1 − t²),  dK_ja = scale · v_a Σ_i dS_ij (1 − t²),
///              dv_a = scale · Σ_ij dS_ij t,  t = tanh(q_ia + k_ja)
/// With projections these are gradients of what they give: dQ = dQ'·Wᵀ, dW = Qᵀ·dQ'.
///
/// \see Dao et al., "FlashAttention", 2022, algorithm 4.
/// Q: n×d, K: m×d, V: m×e, O and dO: n×e, L: n, or n×heads with heads{…}, as
/// attention_with_log_sum_exp() gives them. Grouped heads add up in their keys and values. A query
/// without keys gives and gets nothing. Policies are those of the call: any mask and transforms,
/// dropout, sinks, heads, segments or a padded batch, an executor, options; scores are scaled_dot,
/// dot, general, additive, additive_projected or concat, gradients of whose weights are in extras.
/// A transform is differentiated by a dual number (math::dual), unless it only adds; a user's
/// function must take one, or `auto`. Masked keys and values touch nothing, whatever they hold.
/// Scores are computed again, tile by tile: memory is O(n + m) besides what is returned, and
/// projected inputs. Bits depend neither on threads, executor nor storage. With options{.workspace}
/// and gradients of these shapes attention_backward_into() allocates nothing.
/// \throws shape_error  unless shapes fit; as attention() otherwise, before anything is written.
/// Cost: five products of n·m·d; of additive scores three times attention(); two
/// products for each projection.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          dense_expression L, dense_expression G, class... Ps>
void attention_backward_into(const Q& q, const K& k, const V& v, const O& o, const L& log_sum_exp,
                             const G& dO, attention_gradients<plain_matrix_like<Q>>& gradients,
                             const backward_extras<detail::scalar_of<Q>>& extras,
                             const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_scalars<Q, O, L, G>()) {
    using T = detail::scalar_of<Q>;
    auto bound = detail::bind("attention_backward", q, k, v, policies...);
    using stated = std::remove_cvref_t<decltype(bound.policies())>;
    using score = typename stated::score_type;
    static_assert(detail::has_way_back<score>,
                  "softlook: attention_backward() takes scaled_dot, dot, general, additive, "
                  "additive_projected or concat scores");
    auto& c = bound.call();
    detail::add_derivative(c, bound.policies());
    const detail::readable<O> output(o);
    const detail::readable<L> logs(log_sum_exp);
    const detail::readable<G> dout(dO);
    detail::backward_matrices<T> b;
    b.O = output.view();
    b.log_sum_exp = logs.view();
    b.dO = dout.view();
    b.dL = extras.dL.value_or(matrix_view<T>{});
    b.dsinks = extras.dsinks;
    if (extras.scores) {
      b.self = const_cast<backward_extras<T>*>(&extras);
      b.take = [](void* self, index head, const detail::score_gradient_block<T>& block) {
        static_cast<const backward_extras<T>*>(self)->scores(block, head);
      };
    }
    detail::check_backward(c, b);
    [[maybe_unused]] const auto projections = detail::projections_of<score>(c, extras.weights);
    b.dv = extras.weights.v;
    detail::shape_as(gradients.dQ, q.rows(), q.cols());
    detail::shape_as(gradients.dK, k.rows(), k.cols());
    detail::shape_as(gradients.dV, v.rows(), v.cols());
    b.dQ = detail::writable_view(gradients.dQ);
    b.dK = detail::writable_view(gradients.dK);
    b.dV = detail::writable_view(gradients.dV);
    if constexpr (stated::projects)
      detail::run_projected_backward<stated::is_additive>(c, b, projections);
    else
      detail::run_backward<stated::is_additive>(c, b);
  }
}
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          dense_expression L, dense_expression G, class... Ps>
void attention_backward_into(const Q& q, const K& k, const V& v, const O& o, const L& log_sum_exp,
                             const G& dO, attention_gradients<plain_matrix_like<Q>>& gradients,
                             const Ps&... policies) {
  attention_backward_into(q, k, v, o, log_sum_exp, dO, gradients,
                          backward_extras<detail::scalar_of<Q>>{}, policies...);
}
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          dense_expression L, dense_expression G, class... Ps>
[[nodiscard]] auto attention_backward(const Q& q, const K& k, const V& v, const O& o,
                                      const L& log_sum_exp, const G& dO, const Ps&... policies) {
  attention_gradients<plain_matrix_like<Q>> gradients;
  attention_backward_into(q, k, v, o, log_sum_exp, dO, gradients, policies...);
  return gradients;
}

/// \}

SOFTLOOK_NAMESPACE_END
