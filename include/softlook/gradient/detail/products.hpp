#pragma once

#include <algorithm>

#include "softlook/engine/call/layer_call.hpp"

// Products of the way forward and back. Weights change with each step of training, so they are
// packed for each product.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// What was said of a call, and its products.
template <class T>
class matrix_products {
 public:
  explicit matrix_products(const layer_call& call)
      : call_(call), kernels_(products_of<T>(call.isa)), scratch_(call.opts.workspace) {}

  [[nodiscard]] const layer_call& call() const { return call_; }

  /// Y = X·W + bias; a bias without data is none. Y is apart from X and W.
  void multiply(const matrix_view<T>& X, const matrix_view<T>& W, const mutable_matrix_view<T>& Y,
                const matrix_view<T>& bias = {}) {
    product_args<T> a;
    a.X = X;
    a.Y = Y;
    run(a, W, bias);
  }
  /// Y += X·W.
  void add(const matrix_view<T>& X, const matrix_view<T>& W, const mutable_matrix_view<T>& Y) {
    product_args<T> a;
    a.X = X;
    a.Y = Y;
    a.residual = as_input(Y);
    run(a, W, {});
  }
  /// sums += the sum of the rows of X; without data nothing.
  void add_column_sums(const matrix_view<T>& X, const mutable_matrix_view<T>& sums) const {
    for (index i = 0; sums.cols > 0 && i < X.rows; ++i)
      for (index c = 0; c < X.cols; ++c) sums(0, c) += X(i, c);
  }

 private:
  void run(product_args<T>& a, const matrix_view<T>& W, const matrix_view<T>& bias) {
    if (a.Y.rows == 0 || a.Y.cols == 0) return;
    const index size = packed_size<T>(W.rows, W.cols);
    const index columns = round_up(W.cols, packed_panel_width<T>);
    T* const panels = scratch_.template take<T>(size + columns);
    kernels_.pack(W, panels);
    a.panels = panels;
    if (bias.cols > 0) {
      T* const row = panels + size;
      for (index c = 0; c < columns; ++c) row[c] = c < bias.cols ? bias(0, c) : T(0);
      a.bias = row;
    }
    run_product(kernels_, call_.exec, a);
  }

  const layer_call& call_;
  const product_kernels<T>& kernels_;
  call_scratch scratch_;
};

/// Gives a matrix a shape, without touching memory that it has.
template <class Matrix>
void shape_as(Matrix& m, index rows, index cols) {
  if (m.rows() != rows || m.cols() != cols) m.resize(rows, cols);
}

template <class Matrix>
[[nodiscard]] std::size_t bytes_of(const Matrix& m) {
  return static_cast<std::size_t>(m.size()) * sizeof(typename Matrix::Scalar);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
