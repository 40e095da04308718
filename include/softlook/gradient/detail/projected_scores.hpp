#pragma once

#include "softlook/engine/run/run_backward.hpp"
#include "softlook/gradient/detail/products.hpp"

// The way back through the projections of a score: that of attention gives gradients of projected
// queries and keys, Q' = Q·W and K' = K·W, and products do the rest,
//   dQ = dQ'·Wᵀ,  dW = Σ_heads Qᵀ·dQ',  db = Σ dQ'

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Where gradients of the weights of a score go; or no data.
template <class T>
struct projection_gradients {
  mutable_matrix_view<T> queries;  // of project_queries
  mutable_matrix_view<T> keys;
  mutable_matrix_view<T> bias;
};

/// dW += Xᵀ·d of one head. Rows without a gradient, as those of masked keys, touch nothing,
/// whatever X holds.
template <class T>
void add_weight_gradient(matrix_products<T>& products, const matrix_view<T>& X,
                         const matrix_view<T>& d, const mutable_matrix_view<T>& dW) {
  if (!dW.data) return;
  T zero = 0;
  for (index i = 0; i < X.rows; ++i)
    for (index c = 0; c < X.cols; ++c) zero += X(i, c) - X(i, c);
  if (zero == 0) return products.add(X.transpose(), d, dW);
  for (index i = 0; i < X.rows; ++i)
    for (index a = 0; a < d.cols; ++a)
      for (index c = 0; d(i, a) != 0 && c < X.cols; ++c) dW(c, a) += X(i, c) * d(i, a);
}

/// The way back of X·W + bias in each head: from d, the gradient of what it gave, dX, and what is
/// added to dW and dbias.
template <class T>
void project_back(matrix_products<T>& products, const score_side<T>& side, const matrix_view<T>& W,
                  const matrix_view<T>& d, const mutable_matrix_view<T>& dX,
                  const mutable_matrix_view<T>& dW, const mutable_matrix_view<T>& dbias = {}) {
  for (index head = 0; head < side.heads; ++head) {
    const matrix_view<T> of_head = d.columns(head * W.cols, W.cols);
    products.multiply(of_head, W.transpose(), dX.columns(head * W.rows, W.rows));
    add_weight_gradient(products, side.X.columns(head * W.rows, W.rows), of_head, dW);
    products.add_column_sums(of_head, dbias);
  }
}

/// run_backward() of a call whose score projects. `g` has been checked.
template <bool Additive, class T>
void run_projected_backward(const attention_call<T>& c, const backward_matrices<T>& b,
                            const projection_gradients<T>& g) {
  const input_sizes sizes = sizes_of_inputs(c);
  call_scratch arena(c.opts.workspace);
  T* const start = arena.take<T>(sizes.total() + sizes.queries + sizes.keys);
  const score_inputs<T> made = make_inputs(c, start);
  T* const dqueries = start + sizes.total();
  T* const dkeys = dqueries + sizes.queries;

  attention_call<T> projected = c;
  projected.Q = made.Q;
  projected.K = made.K;
  projected.key_rows = made.key_rows;
  projected.inputs = nullptr;
  projected.score.project_queries = projected.score.project_keys = projected.score.query_bias = {};
  projected.opts.workspace = arena.inner();
  backward_matrices<T> inner = b;
  if (c.score.project_queries) inner.dQ = {dqueries, made.Q.rows, made.Q.cols, made.Q.cols, 1};
  if (c.score.project_keys) inner.dK = {dkeys, made.K.rows, made.K.cols, made.K.cols, 1};
  run_backward<Additive>(projected, inner);

  matrix_products<T> products(projected);
  if (c.score.project_queries)
    project_back(products, queries_of(c), *c.score.project_queries, as_input(inner.dQ), b.dQ,
                 g.queries, g.bias);
  if (c.score.project_keys)
    project_back(products, keys_of(c), *c.score.project_keys, as_input(inner.dK), b.dK, g.keys);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
