#pragma once

#include <cmath>
#include <limits>
#include <utility>

#include "softlook/engine/run/attention_call.hpp"

// Matrices whose types say that they are small: plain loops over the numbers where they lie, and
// the few scores on the stack. The kernels would be compiled three times for them, and take longer
// to set up than this takes.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Scores, and multiply-adds of a product, of a small call.
inline constexpr index most_small_scores = 64;
inline constexpr index most_small_products = 128;

/// Whether sizes, of which those that only a run knows are negative, are those of a small call.
[[nodiscard]] constexpr bool is_small(index queries, index keys, index features, index values) {
  return queries >= 0 && keys >= 0 && features >= 0 && values >= 0 &&
         queries <= most_small_scores && keys <= most_small_scores &&
         queries * keys <= most_small_scores && features <= most_small_products &&
         values <= most_small_products &&
         queries * keys * (features > values ? features : values) <= most_small_products;
}

/// scale · Q Kᵀ, transformed and masked.
template <class T>
void small_scores(const attention_call<T>& c, const mutable_matrix_view<T>& S) {
  const T scale = T(c.scale());
  for (index i = 0; i < S.rows; ++i)
    for (index j = 0; j < S.cols; ++j) {
      T s = 0;
      for (index x = 0; x < c.Q.cols; ++x) s += c.Q(i, x) * scale * c.K(j, x);
      S(i, j) = s;
    }
  transform_matrix(c.policy, c.frame, c.problem_of(0), S);
  mask_matrix(c.policy, c.frame, c.problem_of(0), S);
}

/// A row of scores becomes weights, which are not normalised, and −1 where a score of −∞ must not
/// touch a value. Returns their largest score, or 0, and their sum.
template <class T>
[[nodiscard]] std::pair<T, T> small_softmax(T* S, index count) {
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  T top = lowest, sum = 0;
  for (index j = 0; j < count; ++j) top = S[j] > top ? S[j] : top;
  if (top == lowest) top = 0;
  for (index j = 0; j < count; ++j) {
    if (S[j] == lowest) {
      S[j] = -1;
    } else {
      S[j] = std::exp(S[j] - top);
      sum += S[j];
    }
  }
  return {top, sum};
}

/// Runs a checked call of one head without sinks and dropout.
template <class T>
void run_small(const attention_call<T>& c) {
  T scores[most_small_scores];
  const mutable_matrix_view<T> S{scores, c.Q.rows, c.K.rows, c.K.rows, 1};
  small_scores(c, S);
  for (index i = 0; i < S.rows; ++i) {
    T* const P = scores + i * S.cols;
    const auto [top, sum] = small_softmax(P, S.cols);
    const T part = sum == 0 ? T(0) : 1 / sum;
    for (index e = 0; e < c.V.cols; ++e) {
      T o = 0;
      for (index j = 0; j < S.cols; ++j)
        if (P[j] != -1) o += P[j] * c.V(j, e);
      c.O(i, e) = o * part;
    }
    if (c.log_sum_exp.data)
      c.log_sum_exp(i, 0) = sum == 0 ? -std::numeric_limits<T>::infinity() : top + std::log(sum);
  }
}

/// The weights alone.
template <class T>
void small_weights(const attention_call<T>& c, const mutable_matrix_view<T>& P) {
  T scores[most_small_scores];
  const index m = c.K.rows;
  small_scores(c, {scores, c.Q.rows, m, m, 1});
  for (index i = 0; i < c.Q.rows; ++i) {
    T* const row = scores + i * m;
    const T sum = small_softmax(row, m).second;
    for (index j = 0; j < m; ++j) P(i, j) = row[j] == -1 ? T(0) : row[j] / sum;
  }
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
