#pragma once

#include "softlook/attention/linformer.hpp"
#include "softlook/gradient/attention.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What linformer_attention_backward() returns.
template <class Matrix>
struct linformer_gradients {
  Matrix dQ;
  Matrix dK;
  Matrix dV;
  Matrix dE;
  Matrix dF;
};

/// The way back through linformer_attention(), given dO, with weights computed again: that of
/// attention to K̄ = E·K and V̄ = F·V, and
///   dK = Eᵀ dK̄,  dE = dK̄ Kᵀ,  dV = Fᵀ dV̄,  dF = dV̄ Vᵀ
/// Where E serves keys and values alike, its gradient is the sum of dE and dF.
///
/// \see Wang et al., "Linformer", 2020, Eq. (7).
/// \param policies  those of the call: scaled_dot or dot scores, transforms, heads, an executor,
///                  options.
/// \throws shape_error  as linformer_attention(), and unless dO fits.
/// Cost: O((n + m)·k·(d + e)).
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression E,
          dense_expression F, dense_expression G, class... Ps>
[[nodiscard]] auto linformer_attention_backward(const Q& q, const K& k, const V& v, const E& e,
                                                const F& f, const G& dO, const Ps&... policies) {
  linformer_gradients<plain_matrix_like<Q>> g;
  if constexpr (detail::check_linformer_types<Q, K, V, E, F, Ps...>() &&
                detail::check_scalars<Q, G>()) {
    using T = detail::scalar_of<Q>;
    using matrix = detail::row_major<T>;
    const char* where = "linformer_attention_backward";
    const detail::readable<K> keys(k);
    const detail::readable<V> values(v);
    const detail::readable<E> key_weights(e);
    const detail::readable<F> value_weights(f);
    detail::check_linformer(where, keys.view(), values.view(), key_weights.view(),
                            value_weights.view());
    const detail::layer_call call = detail::layer_call_of(where, policies...);
    detail::matrix_products<T> products(call);
    matrix K_bar(e.rows(), k.cols()), V_bar(f.rows(), v.cols());
    products.multiply(key_weights.view(), keys.view(), detail::writable_view(K_bar));
    products.multiply(value_weights.view(), values.view(), detail::writable_view(V_bar));
    const matrix queries = q;
    const auto state = attention_with_log_sum_exp(queries, K_bar, V_bar, policies...);
    const auto all =
        attention_backward(queries, K_bar, V_bar, state.output, state.log_sum_exp, dO, policies...);
    const auto back = [&](const matrix_view<T>& X, const matrix_view<T>& W, const matrix& d,
                          auto& dX, auto& dW) {
      dX.resize(X.rows, X.cols);
      dW.resize(W.rows, W.cols);
      products.multiply(W.transpose(), detail::view_of(d), detail::writable_view(dX));
      products.multiply(detail::view_of(d), X.transpose(), detail::writable_view(dW));
    };
    g.dQ = all.dQ;
    back(keys.view(), key_weights.view(), all.dK, g.dK, g.dE);
    back(values.view(), value_weights.view(), all.dV, g.dV, g.dF);
  }
  return g;
}

/// \}

SOFTLOOK_NAMESPACE_END
