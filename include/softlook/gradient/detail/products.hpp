#pragma once

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

  /// Y = X·W + bias; a bias without columns is none. Y is apart from X and W.
  void multiply(const matrix_view<T>& X, const matrix_view<T>& W, const mutable_matrix_view<T>& Y,
                const matrix_view<T>& bias = {}) {
    run(X, W, bias, Y, {});
  }
  /// Y += X·W.
  void add(const matrix_view<T>& X, const matrix_view<T>& W, const mutable_matrix_view<T>& Y) {
    run(X, W, {}, Y, as_input(Y));
  }
  /// sums += the sum of the rows of X; without data nothing.
  void add_column_sums(const matrix_view<T>& X, const mutable_matrix_view<T>& sums) const {
    for (index i = 0; sums.cols > 0 && i < X.rows; ++i)
      for (index c = 0; c < X.cols; ++c) sums(0, c) += X(i, c);
  }

 private:
  void run(const matrix_view<T>& X, const matrix_view<T>& W, const matrix_view<T>& bias,
           const mutable_matrix_view<T>& Y, const matrix_view<T>& residual) {
    if (Y.rows == 0 || Y.cols == 0) return;
    T* const memory = scratch_.template take<T>(packed_size_with_bias<T>(W.rows, W.cols));
    product_args<T> a = packed_with_bias(kernels_, W, bias, memory);
    a.X = X;
    a.Y = Y;
    a.residual = residual;
    run_product(kernels_, call_.exec, a);
  }

  const layer_call& call_;
  const product_kernels<T>& kernels_;
  call_scratch scratch_;
};

template <class T>
void copy_rows(const matrix_view<T>& from, const mutable_matrix_view<T>& to) {
  for (index i = 0; i < to.rows; ++i)
    for (index c = 0; c < to.cols; ++c) to(i, c) = from(i, c);
}
/// to += from
template <class T>
void add_rows_to(const matrix_view<T>& from, const mutable_matrix_view<T>& to) {
  for (index i = 0; i < to.rows; ++i)
    for (index c = 0; c < to.cols; ++c) to(i, c) += from(i, c);
}

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
