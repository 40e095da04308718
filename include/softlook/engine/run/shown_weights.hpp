#pragma once

#include <cmath>
#include <limits>

#include "softlook/engine/kernels/dispatch.hpp"

// Scores and weights that are shown, not compared with: the product of the kernels, one row of
// softmax after another. Eigen's product, in the naive kernel, takes longer to compile than
// attention itself.

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

/// A row of scores becomes weights, beside a sink if there is one; a row of −∞ becomes zeros.
template <class T>
void show_weights(T* row, index count, T sink = -std::numeric_limits<T>::infinity()) {
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  T top = sink;
  bool empty = true;
  for (index j = 0; j < count; ++j) {
    top = row[j] > top ? row[j] : top;
    empty = empty && row[j] == lowest;
  }
  if (top == lowest) top = 0;
  T sums[8] = {};  // one long chain would round more
  for (index j = 0; j < count; ++j) sums[j % 8] += row[j] = std::exp(row[j] - top);
  T sum = ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
  if (sink != lowest) sum += std::exp(sink - top);
  for (index j = 0; j < count; ++j) row[j] = empty ? T(0) : row[j] / sum;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
