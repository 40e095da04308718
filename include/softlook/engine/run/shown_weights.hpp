#pragma once

#include "softlook/engine/kernels/dispatch.hpp"

// Scores that are shown, not compared with, by the product of the kernels: Eigen's, in the naive
// kernel, takes longer to compile than attention itself.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// scale · Q Kᵀ of one head.
template <class T>
[[nodiscard]] row_major<T> shown_dots(const matrix_view<T>& Q, const matrix_view<T>& K, T scale,
                                      instruction_set isa) {
  const register_shape& r = registers_of<T>(isa);
  row_major<T> S(Q.rows, K.rows), packed(1, (round_up(Q.rows, r.width()) + r.rows) * Q.cols);
  whole_scores_of<T>(isa)(Q, K, scale, {S.data(), S.rows(), S.cols(), S.cols(), 1}, packed.data());
  return S;
}

/// scale · v·tanh(q_i + k_j) of one head.
template <class T>
[[nodiscard]] row_major<T> shown_additive(const matrix_view<T>& Q, const matrix_view<T>& K,
                                          const matrix_view<T>& weights, T scale) {
  const row_major<T> q = map_of(Q), k = map_of(K), v = map_of(weights) * scale;
  row_major<T> S(Q.rows, K.rows), hidden(1, Q.cols);
  for (index i = 0; i < S.rows(); ++i)
    for (index j = 0; j < S.cols(); ++j) {
      hidden = (q.row(i) + k.row(j)).array().tanh().matrix();
      S(i, j) = hidden.row(0).dot(v.row(0));
    }
  return S;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
