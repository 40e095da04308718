#pragma once

#include <algorithm>

#include "softlook/engine/run/product.hpp"

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

/// Y = A·B + residual, a sum over pieces in their order: run(args) for one after another.
template <class T, class F>
void sum_pieces(const product_kernels<T>& kernels, const matrix_view<T>& A, const matrix_view<T>& B,
                const mutable_matrix_view<T>& Y, T* packed, const matrix_view<T>& residual,
                const F& run) {
  index first = 0;
  do {
    const index count = std::min(input_product_depth, A.cols - first);
    if (count > 0) kernels.pack(B.rows_from(first, count), packed);
    product_args<T> args{A.columns(first, count), packed, nullptr, Y, nullptr, residual};
    if (first > 0) args.residual = as_input(Y);
    run(args);
    first += count;
  } while (first < A.cols);
}

/// Y = A·B; no executor changes a bit.
template <class T>
void input_product(const product_kernels<T>& kernels, const executor_ref& exec,
                   const matrix_view<T>& A, const matrix_view<T>& B,
                   const mutable_matrix_view<T>& Y, T* packed) {
  sum_pieces(kernels, A, B, Y, packed, {},
             [&](const product_args<T>& args) { run_product(kernels, exec, args); });
}

/// Y = A·B + residual on the calling thread.
template <class T>
void small_product(const product_kernels<T>& kernels, const matrix_view<T>& A,
                   const matrix_view<T>& B, const mutable_matrix_view<T>& Y, T* packed,
                   const matrix_view<T>& residual = {}) {
  if (Y.rows == 0 || Y.cols == 0) return;
  sum_pieces(kernels, A, B, Y, packed, residual,
             [&](const product_args<T>& args) { kernels.linear(args, {0, Y.rows}, {0, Y.cols}); });
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
