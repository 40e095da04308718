// Scores of every kind by their definition, one pair at a time.
#pragma once

#include "softlook/score/dot.hpp"
#include "softlook/score/recipe.hpp"
#include "tests/oracle/numbers.hpp"

namespace oracle {

/// What a score policy asks for, as numbers: the policy's own description, widened. The formulas
/// behind each description are pinned by tests/unit/score with matrices written out by hand.
struct score_definition {
  bool additive = false;
  bool unit_rows = false;
  bool joined = false;
  real default_scale = 1;
  matrix Q, K, v;
  matrix wq, wk, wqk;  // joined
};

inline matrix unit_rows_of(matrix X) {
  for (index i = 0; i < X.rows(); ++i) {
    const real norm = std::sqrt(inner_product(X, i, X, i));
    for (index f = 0; f < X.cols(); ++f) X(i, f) = norm > 0 ? X(i, f) / norm : real(0);
  }
  return X;
}

/// Rows divided by √(weight·Σ x² + ε), times a gain.
inline matrix normed_rows_of(matrix X, real weight, real epsilon, const matrix& gain) {
  for (index i = 0; i < X.rows(); ++i) {
    const real root = std::sqrt(inner_product(X, i, X, i) * weight + epsilon);
    for (index f = 0; f < X.cols(); ++f) X(i, f) = root > 0 ? gain(0, f) * X(i, f) / root : real(0);
  }
  return X;
}

template <class T, class Score>
score_definition define(const Score& score, matrix Q, matrix K) {
  const softlook::detail::score_recipe<T> recipe =
      score.template recipe<T>("oracle", Q.cols(), K.cols());
  score_definition result;
  result.additive = Score::is_additive;
  if (recipe.scale_by_root && Q.cols() > 0)  // no features: every score is an empty sum, 0
    result.default_scale = 1 / std::sqrt(static_cast<real>(Q.cols()));
  if (recipe.project_queries) Q = product(Q, widen(*recipe.project_queries));
  if (recipe.project_keys) K = product(K, widen(*recipe.project_keys));
  if (recipe.query_bias) {
    const matrix bias = widen(*recipe.query_bias);
    for (index i = 0; i < Q.rows(); ++i) {
      for (index a = 0; a < Q.cols(); ++a) Q(i, a) += bias(0, a);
    }
  }
  result.Q = recipe.unit_rows ? unit_rows_of(std::move(Q)) : std::move(Q);
  result.K = recipe.unit_rows ? unit_rows_of(std::move(K)) : std::move(K);
  if (recipe.norm) {
    const real weight = recipe.norm->mean ? 1 / static_cast<real>(result.Q.cols()) : real(1);
    const real epsilon = static_cast<real>(recipe.norm->epsilon);
    result.Q = normed_rows_of(std::move(result.Q), weight, epsilon, widen(recipe.norm->query_gain));
    result.K = normed_rows_of(std::move(result.K), weight, epsilon, widen(recipe.norm->key_gain));
  }
  result.v = widen(recipe.v);
  if (recipe.trilinear) {
    result.joined = true;
    result.wq = widen(recipe.trilinear->q);
    result.wk = widen(recipe.trilinear->k);
    result.wqk = widen(recipe.trilinear->qk);
  }
  return result;
}

inline real joined_score(const score_definition& from, index i, index j) {
  real sum = inner_product(from.Q, i, from.wq, 0) + inner_product(from.K, j, from.wk, 0);
  for (index f = 0; f < from.wqk.cols(); ++f) sum += from.wqk(0, f) * from.Q(i, f) * from.K(j, f);
  return sum;
}

/// s(i, j) before scale: q·k, v·tanh(q + k), or w·[q; k; q∘k].
inline real score_of(const score_definition& from, index i, index j) {
  if (from.joined) return joined_score(from, i, j);
  if (!from.additive) return inner_product(from.Q, i, from.K, j);
  const index width = from.Q.cols();
  const real *q = from.Q.data() + i * width, *k = from.K.data() + j * width, *v = from.v.data();
  real sum = 0;
  for (index a = 0; a < width; ++a) sum += v[a] * std::tanh(q[a] + k[a]);
  return sum;
}

}  // namespace oracle
