#pragma once

#include <cmath>
#include <vector>

#include "softlook/gradient/detail/products.hpp"
#include "softlook/vision/detail/passes.hpp"

// Passes over feature maps and back. Where several are largest, the first counts.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// A gate's slope, from the gate.
template <class T>
[[nodiscard]] T gate_slope_of(gate_function f, T gate) {
  if (f == gate_function::sigmoid) return gate * (T(1) - gate);
  return gate > T(0) && gate < T(1) ? T(1) / T(6) : T(0);
}

/// Mean and maximum of each row of X, as pool_channels() keeps them, and where the maximum is.
template <class T>
void pool_rows(const matrix_view<T>& X, pooled pool, const mutable_matrix_view<T>& out,
               std::vector<index>& largest) {
  largest.assign(std::size_t(X.rows), 0);
  for (index i = 0; i < X.rows; ++i) {
    double sum = 0;
    index most = 0;
    for (index j = 0; j < X.cols; ++j) {
      sum += double(X(i, j));
      if (X(i, j) > X(i, most)) most = j;
    }
    largest[std::size_t(i)] = most;
    const statistics<T> s{X.cols > 0 ? T(sum / double(X.cols)) : T(0),
                          X.cols > 0 ? X(i, most) : T(0)};
    keep(pool, s, i, out);
  }
}
/// dX += what the pooled numbers give to each entry.
template <class T>
void pool_rows_back(const matrix_view<T>& dpooled, pooled pool, const std::vector<index>& largest,
                    const mutable_matrix_view<T>& dX) {
  const T share = pool == pooled::mean_max_average ? T(0.5) : T(1);
  for (index i = 0; i < dX.rows && dX.cols > 0; ++i) {
    const T mean = share * dpooled(0, i) / T(dX.cols);
    for (index j = 0; j < dX.cols; ++j) dX(i, j) += mean;
    if (pool == pooled::mean) continue;
    const T most = pool == pooled::mean_and_max ? dpooled(1, i) : share * dpooled(0, i);
    dX(i, largest[std::size_t(i)]) += most;
  }
}

/// Y = X ∘ gates, one for each row.
template <class T>
void gate_rows(const matrix_view<T>& X, const matrix_view<T>& gates,
               const mutable_matrix_view<T>& Y) {
  for (index i = 0; i < Y.rows; ++i)
    for (index j = 0; j < Y.cols; ++j) Y(i, j) = X(i, j) * gates(0, i);
}
/// dX = dY ∘ gates; dsums: the gradients of the sums inside the gates.
template <class T>
void gate_rows_back(gate_function f, const matrix_view<T>& X, const matrix_view<T>& dY,
                    const matrix_view<T>& gates, const mutable_matrix_view<T>& dX,
                    const mutable_matrix_view<T>& dsums) {
  for (index i = 0; i < X.rows; ++i) {
    T along = 0;
    for (index j = 0; j < X.cols; ++j) along += dY(i, j) * X(i, j);
    for (index j = 0; j < X.cols; ++j) dX(i, j) = dY(i, j) * gates(0, i);
    dsums(0, i) = along * gate_slope_of(f, gates(0, i));
  }
}

/// f(pixel, row of the kernels, column, pixel under it, its plane) for all of a correlation.
template <class F>
void for_each_tap(const map_size& size, index kernel, index planes, const F& f) {
  const index margin = kernel / 2;
  for (index plane = 0; plane < planes; ++plane)
    for (index y = 0; y < size.height; ++y)
      for (index dy = std::max<index>(margin - y, 0);
           dy < std::min(kernel, size.height + margin - y); ++dy)
        for (index x = 0; x < size.width; ++x)
          for (index dx = std::max<index>(margin - x, 0);
               dx < std::min(kernel, size.width + margin - x); ++dx)
            f(y * size.width + x, plane * kernel + dy, dx,
              (y + dy - margin) * size.width + x + dx - margin, plane);
}

/// The layer norm of one row, x − mean and the deviation kept.
template <class T>
struct normalised_row {
  T deviation = 1;

  void forward(const matrix_view<T>& x, const mutable_matrix_view<T>& unit, double epsilon) {
    double mean = 0, variance = 0;
    for (index c = 0; c < x.cols; ++c) mean += double(x(0, c)) / double(x.cols);
    for (index c = 0; c < x.cols; ++c)
      variance += (double(x(0, c)) - mean) * (double(x(0, c)) - mean) / double(x.cols);
    deviation = T(std::sqrt(variance + epsilon));
    for (index c = 0; c < x.cols; ++c) unit(0, c) = T(double(x(0, c)) - mean) / deviation;
  }
  /// d: the gradient of the unit row, then that of x.
  void backward(const matrix_view<T>& unit, const mutable_matrix_view<T>& d) const {
    T mean = 0, along = 0;
    for (index c = 0; c < d.cols; ++c) {
      mean += d(0, c) / T(d.cols);
      along += d(0, c) * unit(0, c) / T(d.cols);
    }
    for (index c = 0; c < d.cols; ++c) d(0, c) = (d(0, c) - mean - unit(0, c) * along) / deviation;
  }
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
