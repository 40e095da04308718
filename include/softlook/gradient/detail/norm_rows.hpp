#pragma once

#include <cmath>
#include <vector>

#include "softlook/core/norm_kind.hpp"
#include "softlook/gradient/detail/products.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template <class T>
struct norm_rule {
  matrix_view<T> gain;
  matrix_view<T> bias;  // no columns: none
  T epsilon = 0;
  bool centred = true;  // else an RMS norm
};

/// What the way back of a norm needs.
template <class T>
struct kept_norm {
  row_major<T> normalised;  // (x − mean x)·inverse
  std::vector<T> inverse;   // 1/√(var x + ε) of each row

  [[nodiscard]] std::size_t bytes() const {
    return bytes_of(normalised) + inverse.size() * sizeof(T);
  }
};

/// Σ f(c), c < count. Eight sums that a vector register holds, whatever the optimiser may reorder.
template <class T, class F>
[[nodiscard]] T sum_of(index count, const F& f) {
  constexpr index lanes = 8;
  T sums[lanes] = {};
  const index whole = count / lanes * lanes;
  for (index c = 0; c < whole; c += lanes)
    for (index k = 0; k < lanes; ++k) sums[k] += f(c + k);
  for (index c = whole; c < count; ++c) sums[c - whole] += f(c);
  T all = 0;
  for (const T sum : sums) all += sum;
  return all;
}

/// f(first, last) for blocks of rows, one task each.
template <class F>
void run_row_blocks(const executor_ref& exec, index rows, const F& f) {
  constexpr index block = 32;
  run_tasks(exec, ceil_div(rows, block),
            [&](index task, index) { f(task * block, std::min((task + 1) * block, rows)); });
}

/// Y = the norm of each row of X; Y is row-major, apart from X or X itself.
template <class T>
void norm_rows(const executor_ref& exec, const norm_rule<T>& p, const matrix_view<T>& X,
               kept_norm<T>& kept, const mutable_matrix_view<T>& Y) {
  shape_as(kept.normalised, X.rows, X.cols);
  kept.inverse.resize(std::size_t(X.rows));
  const index n = X.cols;
  const T share = n > 0 ? T(1) / T(n) : T(0);
  run_row_blocks(exec, X.rows, [&](index first, index last) {
    for (index i = first; i < last; ++i) {
      T* const x = kept.normalised.data() + i * n;
      for (index c = 0; c < n; ++c) x[c] = X(i, c);
      if (p.centred) {
        const T mean = share * sum_of<T>(n, [x](index c) { return x[c]; });
        for (index c = 0; c < n; ++c) x[c] -= mean;
      }
      const T square = share * sum_of<T>(n, [x](index c) { return x[c] * x[c]; });
      const T inverse = T(1) / std::sqrt(square + p.epsilon);
      kept.inverse[std::size_t(i)] = inverse;
      for (index c = 0; c < n; ++c) {
        x[c] *= inverse;
        Y(i, c) = x[c] * p.gain(0, c);
      }
      if (p.bias.cols > 0)
        for (index c = 0; c < n; ++c) Y(i, c) += p.bias(0, c);
    }
  });
}

template <class T>
struct norm_gradients {
  mutable_matrix_view<T> gain;
  mutable_matrix_view<T> bias;
  mutable_matrix_view<T> X;
};

/// to.X = the gradient of X, which may lie where dY does; those of gain and bias are added to.
template <class T>
void norm_rows_back(const executor_ref& exec, const norm_rule<T>& p, const kept_norm<T>& kept,
                    const matrix_view<T>& dY, const norm_gradients<T>& to) {
  const index n = dY.cols;
  const auto row = [&](index i) { return kept.normalised.data() + i * n; };
  for (index i = 0; i < dY.rows; ++i)  // row after row: threads do not change the order
    for (index c = 0; c < n; ++c) to.gain(0, c) += dY(i, c) * row(i)[c];
  for (index i = 0; p.bias.cols > 0 && i < dY.rows; ++i)
    for (index c = 0; c < n; ++c) to.bias(0, c) += dY(i, c);
  const T share = n > 0 ? T(1) / T(n) : T(0);
  run_row_blocks(exec, dY.rows, [&](index first, index last) {
    for (index i = first; i < last; ++i) {
      const T* const x = row(i);
      const auto g = [&](index c) { return dY(i, c) * p.gain(0, c); };
      const T mean = p.centred ? share * sum_of<T>(n, g) : T(0);
      const T along = share * sum_of<T>(n, [&](index c) { return g(c) * x[c]; });
      const T inverse = kept.inverse[std::size_t(i)];
      for (index c = 0; c < n; ++c) to.X(i, c) = inverse * (g(c) - mean - x[c] * along);
    }
  });
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
