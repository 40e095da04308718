#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <numbers>

#include "softlook/core/random.hpp"
#include "softlook/engine/run/packed_linear.hpp"

// The random projection of positive random features.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// N(0, 1) for element (i, j) of a stream: Box and Muller, 1958, on two words of the generator
/// each.
[[nodiscard]] inline double gaussian(std::uint64_t seed, std::uint32_t stream, index i, index j) {
  const philox_counter words =
      random_words(seed, stream, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j));
  const double angle = open_uniform({words[2], words[3], 0, 0});
  return std::sqrt(-2 * std::log(open_uniform(words))) * std::cos(2 * std::numbers::pi * angle);
}

/// Rows of N(0, 1) whose directions are orthogonal in every block of `features` rows: Gram-Schmidt,
/// twice for orthogonality to the last bits, then each row gets the length of a Gaussian vector.
template <std::same_as<double> Real = double>  // so that it is compiled with a call
[[nodiscard]] Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic> orthogonal_gaussians(
    index rows, index features, std::uint64_t seed) {
  constexpr std::uint32_t directions = 0, lengths = 1;
  Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic> W(rows, features);
  for (index i = 0; i < rows; ++i) {
    double length = 0;
    for (index j = 0; j < features; ++j) {
      W(i, j) = gaussian(seed, directions, i, j);
      const double other = gaussian(seed, lengths, i, j);
      length += other * other;
    }
    const index block = features > 0 ? i / features * features : i;
    for (int pass = 0; pass < 2; ++pass) {
      for (index k = block; k < i; ++k) {
        const double along = W.row(i).dot(W.row(k)) / W.row(k).squaredNorm();
        W.row(i) -= along * W.row(k);
      }
    }
    if (features > 0) W.row(i) *= std::sqrt(length / W.row(i).squaredNorm());
  }
  return W;
}

/// X·Wᵀ and its exponentials, for rows of one head.
template <class T>
struct random_projection {
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> W;  // rows × features
  aligned_vector<T> panels;                            // of root·Wᵀ
  T root = 1;                                          // √scale: what x is multiplied with
  T key_shift = 0;
  T epsilon = 0;

  void pack() {
    const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> scaled = root * W.transpose();
    panels.resize(std::size_t(packed_size<T>(scaled.rows(), scaled.cols())));
    if (scaled.size() > 0)
      products_of<T>(best_instruction_set()).pack(view_of(scaled), panels.data());
  }
  void project(instruction_set isa, const matrix_view<T>& X,
               const mutable_matrix_view<T>& out) const {
    if (out.rows == 0 || out.cols == 0) return;
    product_args<T> a;
    a.X = X;
    a.panels = panels.data();
    a.Y = out;
    products_of<T>(isa).linear(a, {0, X.rows}, {0, out.cols});
  }
  /// |root·x|²/2 of each row.
  void half_norms(const matrix_view<T>& X, T* out) const {
    std::fill_n(out, X.rows, T(0));
    for (index i = 0; i < X.rows; ++i)
      for (index c = 0; c < X.cols; ++c) out[i] += X(i, c) * X(i, c) * (root * root / 2);
  }
  /// Rows of `out` are whole vectors long.
  void apply(instruction_set isa, const matrix_view<T>& X, bool keys,
             const mutable_matrix_view<T>& out, T* norms) const {
    project(isa, X, out);
    random_feature_rows<T> a;
    a.data = out.data;
    a.stride = out.row_stride;
    a.rows = out.rows;
    a.features = out.cols;
    a.by_row = !keys;
    a.shift = keys ? key_shift : T(0);
    a.factor = out.cols > 0 ? T(1) / std::sqrt(T(out.cols)) : T(1);
    a.epsilon = epsilon;
    // Without ε a factor of a query's row cancels, and its largest feature may as well be 1.
    if (keys || epsilon > 0) {
      half_norms(X, norms);
      a.half_norms = norms;
    }
    recurrents_of<T>(isa).random_features(a);
  }
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
