#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "softlook/engine/kernels/args.hpp"
#include "softlook/score/recipe.hpp"

// The baseline: the whole n×m matrix of scores, Eigen products, one row of softmax after another.
// It is written apart from the kernels on purpose, as what they are checked against.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// A·B. The one product of this path, so that Eigen's is compiled once and not for every pair of
/// expressions.
template <class T>
[[nodiscard]] row_major<T> plain_product(const row_major<T>& A, const row_major<T>& B) {
  return A * B;
}

/// scale · score of every pair; Q and K are projected already. Of one kind of score each.
template <class T>
[[nodiscard]] row_major<T> materialised_dots(const matrix_view<T>& Q, const matrix_view<T>& K,
                                             T scale) {
  const row_major<T> scaled = map_of(Q) * scale, transposed = map_of(K).transpose();
  return plain_product(scaled, transposed);
}
template <class T>
[[nodiscard]] row_major<T> materialised_additive(const matrix_view<T>& Q, const matrix_view<T>& K,
                                                 const matrix_view<T>& weights, T scale) {
  const auto q = map_of(Q), k = map_of(K);
  row_major<T> S(Q.rows, K.rows), hidden(K.rows, K.cols);
  const row_major<T> v = map_of(weights).transpose() * scale;
  for (index i = 0; i < Q.rows; ++i) {
    hidden = (k.rowwise() + q.row(i)).array().tanh().matrix();
    S.row(i) = plain_product(hidden, v).transpose();
  }
  return S;
}
template <bool Additive, class T>
[[nodiscard]] row_major<T> materialised_scores(const matrix_view<T>& Q, const matrix_view<T>& K,
                                               const score_recipe<T>& score, T scale) {
  if constexpr (Additive)
    return materialised_additive(Q, K, score.v, scale);
  else
    return materialised_dots(Q, K, scale);
}
/// Of the kind that the call says.
template <class T>
[[nodiscard]] row_major<T> materialised_scores(const matrix_view<T>& Q, const matrix_view<T>& K,
                                               const score_recipe<T>& score, T scale) {
  return score.additive ? materialised_additive(Q, K, score.v, scale)
                        : materialised_dots(Q, K, scale);
}

/// Rows of S become weights, and their natural log-sum-exp; a row of −∞ becomes zeros and −∞.
template <class T>
void softmax_rows(row_major<T>& S, Eigen::Matrix<T, Eigen::Dynamic, 1>& log_sum_exp) {
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  for (index i = 0; i < S.rows(); ++i) {
    auto row = S.row(i).array();
    T top = lowest;
    for (index j = 0; j < S.cols(); ++j) top = S(i, j) > top ? S(i, j) : top;
    if (top == lowest && !row.isNaN().any()) {
      row.setZero();
      log_sum_exp[i] = lowest;
      continue;
    }
    const T finite_top = top == lowest ? T(0) : top;
    for (index j = 0; j < S.cols(); ++j) S(i, j) = std::exp(S(i, j) - finite_top);
    const T sum = row.sum();
    log_sum_exp[i] = finite_top + std::log(sum);
    row /= sum;
  }
}

/// P·V in which a pair whose score was −∞ or whose weight was dropped, −0, touches nothing,
/// whatever its value holds: rows of V that are not finite are left out of the product and added
/// pair by pair.
template <class T>
void weighted_sum(const row_major<T>& P, const row_major<T>& S, const matrix_view<T>& V,
                  mutable_matrix_view<T> O) {
  row_major<T> values = map_of(V);
  std::vector<index> special;
  for (index j = 0; j < values.rows(); ++j)
    if (!values.row(j).array().isFinite().all()) {
      special.push_back(j);
      values.row(j).setZero();
    }
  row_major<T> out = plain_product(P, values);
  for (const index j : special)
    for (index i = 0; i < out.rows(); ++i)
      if (S(i, j) != -std::numeric_limits<T>::infinity() &&
          !(P(i, j) == 0 && std::signbit(P(i, j))))
        for (index c = 0; c < out.cols(); ++c) out(i, c) += P(i, j) * V(j, c);
  for (index i = 0; i < O.rows; ++i)
    for (index c = 0; c < O.cols; ++c) O(i, c) = out(i, c);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
