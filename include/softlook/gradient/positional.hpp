#pragma once

#include "softlook/attention/positional.hpp"
#include "softlook/gradient/attention.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// Gradients of learned logits and of values.
template <class T, class Matrix>
struct position_logits_gradients {
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> dS;
  Matrix dV;
};

/// Gradients of factors and of values.
template <class T, class Matrix>
struct position_factors_gradients {
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> dP1;
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> dP2;
  Matrix dV;
};

namespace detail {

/// Attention whose scores a transform replaces, and the gradients of what the transform reads:
/// those of the transforms behind it are their slopes, times dS.
template <class T, class V, class G, class... Ps>
[[nodiscard]] auto logits_back(const char* where, const matrix_view<T>& S, const V& v, const G& dO,
                               const Ps&... policies) {
  position_logits_gradients<T, plain_matrix_like<V>> g;
  const heads h = heads_of(policies...);
  check_position_logits(where, S, v.rows(), h.query);
  const index rows = S.rows / h.query;
  const double scale = options_of(policies...).scale.value_or(1);
  const read_logits<T> read{S, rows, scale};
  const auto chain = transforms_of(policies...);
  const plain_matrix_like<V> none(v.rows(), 0);
  const auto state = attention_with_log_sum_exp(none, none, v, scores::dot{}, read, policies...);
  g.dS.setZero(S.rows, S.cols);
  backward_extras<T> extras;
  extras.scores = [&](const score_gradients<T>& block, index head) {
    const problem p{std::int32_t(v.rows()), std::int32_t(v.rows()), std::int32_t(head),
                    std::int32_t(h.query)};
    for (index i = 0; i < block.dS.rows; ++i)
      for (index j = 0; j < block.dS.cols; ++j) {
        const T d = block.dS(i, j);
        if (d == T(0)) continue;
        const index query = block.first_query + i, key = block.first_key + j;
        const index row = rows * head + query;
        g.dS(row, key) = T(scale) * d * slope_of(chain, T(scale) * S(row, key), query, key, p);
      }
  };
  attention_gradients<plain_matrix_like<V>> all;
  attention_backward_into(none, none, v, state.output, state.log_sum_exp, dO, all, extras,
                          scores::dot{}, read, policies...);
  g.dV = std::move(all.dV);
  return g;
}

template <class T, class V, class G, class... Ps>
[[nodiscard]] auto factors_back(const char* where, const position_factors<T>& learned, const V& v,
                                const G& dO, const Ps&... policies) {
  position_factors_gradients<T, plain_matrix_like<V>> g;
  const index n = v.rows();
  check_position_factors(where, learned, n, heads_of(policies...));
  const row_major<T> P1 = map_of(learned.queries().rows_from(0, n));
  const row_major<T> P2 = map_of(learned.keys().rows_from(0, n));
  const row_major<T> values = v;
  const auto state = attention_with_log_sum_exp(P1, P2, values, scores::dot{}, policies...);
  const auto all = attention_backward(P1, P2, values, state.output, state.log_sum_exp, dO,
                                      scores::dot{}, policies...);
  g.dP1.setZero(learned.queries().rows, P1.cols());
  g.dP2.setZero(learned.keys().rows, P2.cols());
  g.dP1.topRows(n) = all.dQ;
  g.dP2.topRows(n) = all.dK;
  g.dV = all.dV;
  return g;
}

}  // namespace detail

/// The way back through positional_attention(), given dO, n×(query·e), with weights computed again:
/// the gradients of values and of what was learned, in its shape; positions beyond the first n have
/// none.
///   dS = scale·P ∘ (dO Vᵀ − D),   dP1 = dS P2,   dP2 = dSᵀ P1
///
/// \param policies  those of the call.
/// \throws shape_error, argument_error  as positional_attention(), and unless dO fits.
/// Cost: that of attention_backward(). Logits are n×n, and so are their gradients; with factors
/// nothing is.
template <detail::learned_logits P, dense_expression V, dense_expression G, class... Ps>
[[nodiscard]] auto positional_attention_backward(const P& learned, const V& v, const G& dO,
                                                 const Ps&... policies) {
  using T = typename P::scalar;
  const char* where = "positional_attention_backward";
  if constexpr (detail::check_position_types<P, V, Ps...>() && detail::check_scalars<V, G>() &&
                detail::check_all_rows<Ps...>()) {
    const heads h = detail::heads_of(policies...);
    detail::check_heads(where, h.query, h.kv_or_query());
    detail::check_columns_of_heads(where, "V.cols()", v.cols(), "heads.kv", h.kv_or_query());
    detail::check_sizes(where, "dO.rows()", dO.rows(), "V.rows()", v.rows(),
                        "a gradient for each position");
    detail::check_sizes(where, "dO.cols()", dO.cols(), "the columns of the output",
                        detail::output_columns(v.cols(), policies...),
                        "a gradient for each entry of the output");
    if constexpr (detail::is_position_logits<P>)
      return detail::logits_back<T>(where, learned.logits(), v, dO, policies...);
    else
      return detail::factors_back<T>(where, learned, v, dO, policies...);
  }
}

/// \}

SOFTLOOK_NAMESPACE_END
