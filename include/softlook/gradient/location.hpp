#pragma once

#include "softlook/attention/location.hpp"
#include "softlook/gradient/attention.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What location_attention_backward() returns.
template <class Matrix>
struct location_gradients {
  Matrix dQ;
  Matrix dW;
  Matrix dV;
};

/// The way back through location_attention(), given dO, with weights computed again: that of
/// attention to the columns of W as keys. Columns behind the memory's last have none.
/// \see Luong et al., 2015, Eq. (8), location.
/// \param policies  those of the call.
/// \throws shape_error  as location_attention(), and unless dO fits.
template <dense_expression Q, dense_expression M, dense_expression V, dense_expression G,
          class... Ps>
[[nodiscard]] auto location_attention_backward(const Q& q, const M& W, const V& v, const G& dO,
                                               const Ps&... policies) {
  location_gradients<plain_matrix_like<Q>> g;
  if constexpr (detail::check_types<Q, M, V, Ps...>() && detail::check_scalars<Q, G>()) {
    detail::check_locations("location_attention_backward", W, q.cols(), v.rows(),
                            detail::heads_of(policies...));
    const detail::row_major<detail::scalar_of<Q>> keys = W.matrix().leftCols(v.rows()).transpose();
    const auto state = attention_with_log_sum_exp(q, keys, v, scores::dot{}, policies...);
    auto all = attention_backward(q, keys, v, state.output, state.log_sum_exp, dO, scores::dot{},
                                  policies...);
    g.dQ = std::move(all.dQ);
    g.dV = std::move(all.dV);
    g.dW.setZero(W.rows(), W.cols());
    g.dW.leftCols(v.rows()) = all.dK.transpose();
  }
  return g;
}

/// \}

SOFTLOOK_NAMESPACE_END
