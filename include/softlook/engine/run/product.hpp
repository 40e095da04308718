#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

#include "softlook/engine/kernels/args.hpp"
#include "softlook/engine/run/tasks.hpp"

// A packed product as tasks.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// How a product is cut: blocks of rows whose part of X stays in the second-level cache, and, while
/// that leaves workers idle, groups of panels. No cut changes a bit: a number of Y is one sum.
struct product_cut {
  index rows = 0;
  index columns = 0;
};

template <class T>
[[nodiscard]] constexpr product_cut cut_product(index rows, index inputs, index outputs,
                                                index workers) {
  constexpr index width = packed_panel_width<T>, row_step = 8;
  const index fit = index{512 * 1024} / (std::max<index>(inputs, 1) * index(sizeof(T)));
  product_cut cut{std::max(fit / row_step * row_step, 4 * row_step), round_up(outputs, width)};
  const index blocks = std::max<index>(ceil_div(rows, cut.rows), 1), panels = cut.columns / width;
  cut.rows = round_up(ceil_div(rows, blocks), row_step);
  if (workers > 1 && blocks < 4 * workers) {
    const index groups = std::clamp<index>(ceil_div(4 * workers, blocks), 1, panels);
    cut.columns = ceil_div(panels, groups) * width;
  }
  return cut;
}

/// The kernel that reads the weights of a product.
template <class T>
[[nodiscard]] auto linear_of(const product_kernels<T>& kernels, const product_args<T>& a) {
  return a.linear ? a.linear : kernels.linear;
}

/// Whether X of b is rounded once that of a is.
template <class T>
[[nodiscard]] bool share_rounded(const product_args<T>& a, const product_args<T>& b) {
  return a.round == b.round && a.rounded.data == b.rounded.data && a.X.data == b.X.data &&
         a.X.row_stride == b.X.row_stride && a.X.col_stride == b.X.col_stride;
}

/// Rows that are rounded as one task.
inline constexpr index rounding_block = 64;

template <class T, std::size_t Count>
void round_inputs(const executor_ref& exec, const std::array<product_args<T>, Count>& products) {
  for (std::size_t k = 0; k < Count; ++k) {
    const product_args<T>& a = products[k];
    if (!a.round || a.Y.rows == 0 || (k > 0 && share_rounded(products[k - 1], a))) continue;
    if (a.Y.rows <= rounding_block) {
      a.round(a, {0, a.Y.rows});
      continue;
    }
    run_tasks(exec, ceil_div(a.Y.rows, rounding_block), [&](index task, index) {
      const index first = task * rounding_block;
      a.round(a, {first, std::min(first + rounding_block, a.Y.rows)});
    });
  }
}

/// Several products as one set of tasks.
template <class T, std::size_t Count>
void run_products(const product_kernels<T>& kernels, const executor_ref& exec,
                  const std::array<product_args<T>, Count>& products) {
  round_inputs(exec, products);
  std::array<product_cut, Count> cuts{};
  std::array<index, Count + 1> begins{};
  const auto groups_of = [&](std::size_t k) {
    return ceil_div(products[k].Y.cols, cuts[k].columns);
  };
  for (std::size_t k = 0; k < Count; ++k) {
    const product_args<T>& a = products[k];
    begins[k + 1] = begins[k];
    if (a.Y.rows == 0 || a.Y.cols == 0) continue;
    cuts[k] = cut_product<T>(a.Y.rows, a.X.cols, a.Y.cols, exec.concurrency);
    begins[k + 1] += ceil_div(a.Y.rows, cuts[k].rows) * groups_of(k);
  }
  run_tasks(exec, begins[Count], [&](index task, index) {
    std::size_t k = 0;
    while (task >= begins[k + 1]) ++k;
    const product_args<T>& a = products[k];
    const index mine = task - begins[k], groups = groups_of(k);
    const index row = mine / groups * cuts[k].rows, column = mine % groups * cuts[k].columns;
    linear_of(kernels, a)(a, {row, std::min(row + cuts[k].rows, a.Y.rows)},
                          {column, std::min(column + cuts[k].columns, a.Y.cols)});
  });
}

template <class T>
void run_product(const product_kernels<T>& kernels, const executor_ref& exec,
                 const product_args<T>& a) {
  run_products<T, 1>(kernels, exec, {a});
}

/// Scalars of W and a bias, packed for products.
template <class T>
[[nodiscard]] constexpr index packed_size_with_bias(index inputs, index outputs) {
  constexpr index width = packed_panel_width<T>;
  return std::max(packed_size<T>(inputs, outputs), width) + round_up(outputs, width);
}

/// What products with W are told once it lies packed in `memory`, its bias behind it; a bias
/// without columns is none.
template <class T>
[[nodiscard]] product_args<T> packed_with_bias(const product_kernels<T>& kernels,
                                               const matrix_view<T>& W, const matrix_view<T>& bias,
                                               T* memory) {
  constexpr index width = packed_panel_width<T>;
  product_args<T> a;
  a.panels = memory;
  if (W.rows > 0 && W.cols > 0) kernels.pack(W, memory);
  if (bias.cols > 0) {
    T* const row = memory + std::max(packed_size<T>(W.rows, W.cols), width);
    for (index c = 0; c < round_up(W.cols, width); ++c) row[c] = c < bias.cols ? bias(0, c) : T(0);
    a.bias = row;
  }
  return a;
}

/// X·W + bias for every head.
template <class T>
matrix_view<T> project(const product_kernels<T>& kernels, const executor_ref& exec,
                       const matrix_view<T>& X, index heads, const matrix_view<T>& W,
                       const std::optional<matrix_view<T>>& bias, T* packed, T* out) {
  const index features = X.cols / heads, columns = heads * W.cols;
  product_args<T> args = packed_with_bias(kernels, W, bias.value_or(matrix_view<T>{}), packed);
  for (index head = 0; head < heads; ++head) {
    args.X = X.columns(head * features, features);
    args.Y = {out + head * W.cols, X.rows, W.cols, columns, 1};
    run_product(kernels, exec, args);
  }
  return {out, X.rows, columns, columns, 1};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
