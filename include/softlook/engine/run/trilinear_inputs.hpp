#pragma once

#include "softlook/score/recipe.hpp"

// A linear score of joined features as a dot product with one feature more:
//   w_q·q + w_k·k + w_qk·(q ∘ k) = [q ∘ w_qk + w_k, w_q·q] · [k, 1].

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// [q ∘ w_qk + w_k, w_q·q] for every row and head.
template <class T>
matrix_view<T> trilinear_queries(const matrix_view<T>& Q, index heads,
                                 const trilinear_weights<T>& w, T* out) {
  const index features = Q.cols / heads, columns = Q.cols + heads;
  for (index i = 0; i < Q.rows; ++i)
    for (index h = 0; h < heads; ++h) {
      T* row = out + i * columns + h * (features + 1);
      T sum = 0;
      for (index f = 0; f < features; ++f) {
        const T q = Q(i, h * features + f);
        row[f] = w.qk.data ? q * w.qk(0, f) + w.k(0, f) : w.k(0, f);
        sum += q * w.q(0, f);
      }
      row[features] = sum;
    }
  return {out, Q.rows, columns, columns, 1};
}

/// [k, 1] for every row and head.
template <class T>
matrix_view<T> trilinear_keys(const matrix_view<T>& K, index heads, T* out) {
  const index features = K.cols / heads, columns = K.cols + heads;
  for (index j = 0; j < K.rows; ++j)
    for (index h = 0; h < heads; ++h) {
      T* row = out + j * columns + h * (features + 1);
      for (index f = 0; f < features; ++f) row[f] = K(j, h * features + f);
      row[features] = 1;
    }
  return {out, K.rows, columns, columns, 1};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
