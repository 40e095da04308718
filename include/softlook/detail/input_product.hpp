#pragma once

#include <algorithm>

#include "softlook/detail/product.hpp"

// A·B of two inputs of a call: B is packed a few rows at a time, so that scratch does not grow with
// the length of the sum.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Rows of B that are packed at a time: a panel of them stays in the first-level cache.
inline constexpr index input_product_depth = 256;

/// Scalars of scratch for a product with so many columns.
template <class T>
[[nodiscard]] constexpr index input_product_scratch(index columns) {
  return packed_size<T>(input_product_depth, columns);
}

/// f(A's columns, packed rows of B, whether they are the first) for one piece after another.
template <class T, class F>
void for_each_piece(const product_kernels<T>& kernels, const matrix_view<T>& A,
                    const matrix_view<T>& B, T* packed, const F& f) {
  index first = 0;
  do {
    const index count = std::min(input_product_depth, A.cols - first);
    const matrix_view<T> rows = B.rows_from(first, count);
    if (count > 0) kernels.pack(rows, packed);
    f(A.columns(first, count), first == 0);
    first += count;
  } while (first < A.cols);
}

/// Y = A·B, a sum over pieces in their order: no executor changes a bit.
template <class T>
void input_product(const product_kernels<T>& kernels, const executor_ref& exec,
                   const matrix_view<T>& A, const matrix_view<T>& B,
                   const mutable_matrix_view<T>& Y, T* packed) {
  for_each_piece(kernels, A, B, packed, [&](const matrix_view<T>& part, bool is_first) {
    linear_args<T> args{part, packed, nullptr, Y, nullptr, {}};
    if (!is_first) args.residual = {Y.data, Y.rows, Y.cols, Y.row_stride, Y.col_stride};
    run_product(kernels, exec, args);
  });
}

/// Y = A·B + residual on the calling thread.
template <class T>
void small_product(const product_kernels<T>& kernels, const matrix_view<T>& A,
                   const matrix_view<T>& B, const mutable_matrix_view<T>& Y, T* packed,
                   const matrix_view<T>& residual = {}) {
  if (Y.rows == 0 || Y.cols == 0) return;
  for_each_piece(kernels, A, B, packed, [&](const matrix_view<T>& part, bool is_first) {
    linear_args<T> args{part, packed, nullptr, Y, nullptr, residual};
    if (!is_first) args.residual = {Y.data, Y.rows, Y.cols, Y.row_stride, Y.col_stride};
    kernels.linear(args, {0, Y.rows}, {0, Y.cols});
  });
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
