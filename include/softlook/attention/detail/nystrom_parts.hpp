#pragma once

#include <algorithm>
#include <cmath>

#include "softlook/engine/call/sorted_call.hpp"
#include "softlook/engine/run/input_product.hpp"

// The parts of Nyström attention that are no attention: means of segments, the pseudo-inverse, the
// convolution over values.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Rows [begin, end) of segment s of `count` nearly equal ones.
[[nodiscard]] constexpr range segment_of(index s, index count, index rows) {
  return {s * rows / count, (s + 1) * rows / count};
}

/// Row s of Y is the mean of segment s of X. A column's sum runs over rows in order whatever the
/// storage, so that no bit depends on it.
template <class T>
void segment_mean(const matrix_view<T>& X, range rows, T* mean) {
  using row = Eigen::Array<T, 1, Eigen::Dynamic>;
  Eigen::Map<row> sum(mean, X.cols);
  sum.setZero();
  if (X.col_stride == 1) {
    for (index i = rows.begin; i < rows.end; ++i)
      sum += Eigen::Map<const row>(X.data + i * X.row_stride, X.cols);
  } else {
    for (index c = 0; c < X.cols; ++c)
      for (index i = rows.begin; i < rows.end; ++i) mean[c] += X(i, c);
  }
  sum /= T(rows.count());
}

/// Z ≈ A⁺ of an L×L matrix of softmax rows, and what it takes.
///   Z₀ = Aᵀ / (‖A‖₁ ‖A‖∞),  Z ← ¼ Z (13 I − A Z (15 I − A Z (7 I − A Z)))
/// \see Xiong et al., "Nyströmformer", 2021, Eq. (11), (12); Razavi et al., 2014.
template <class T>
class pseudo_inverse {
 public:
  explicit pseudo_inverse(index size) : size_(size) {}

  /// Scalars of scratch; the result is its beginning.
  [[nodiscard]] index scratch() const { return 4 * square() + input_product_scratch<T>(size_); }

  matrix_view<T> operator()(const product_kernels<T>& kernels, const matrix_view<T>& A,
                            index iterations, T* space) const {
    const auto at = [&](index k) {
      return mutable_matrix_view<T>{space + k * square(), size_, size_, size_, 1};
    };
    mutable_matrix_view<T> Z = at(0), next = at(1), AZ = at(2), inner = at(3);
    T* const packed = space + 4 * square();
    start(A, Z);
    const auto product = [&](const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
                             const mutable_matrix_view<T>& to) {
      small_product(kernels, X, as_input(Y), to, packed);
    };
    for (index k = 0; k < iterations; ++k) {
      product(A, Z, AZ);
      from_identity(T(7), AZ, inner);
      product(as_input(AZ), inner, next);
      from_identity(T(15), next, inner);
      product(as_input(AZ), inner, next);
      from_identity(T(13), next, inner);
      product(as_input(Z), inner, next);
      for (index x = 0; x < size_ * size_; ++x) Z.data[x] = next.data[x] / 4;
    }
    return as_input(Z);
  }

 private:
  [[nodiscard]] index square() const { return round_up(size_ * size_, 16); }
  /// out = a·I − X
  void from_identity(T a, const mutable_matrix_view<T>& X,
                     const mutable_matrix_view<T>& out) const {
    for (index i = 0; i < size_; ++i)
      for (index j = 0; j < size_; ++j) out(i, j) = (i == j ? a : T(0)) - X(i, j);
  }
  void start(const matrix_view<T>& A, const mutable_matrix_view<T>& Z) const {
    T rows = 0, columns = 0;
    for (index i = 0; i < size_; ++i) {
      T row = 0, column = 0;
      for (index j = 0; j < size_; ++j) {
        row += std::abs(A(i, j));
        column += std::abs(A(j, i));
      }
      rows = std::max(rows, row);
      columns = std::max(columns, column);
    }
    for (index i = 0; i < size_; ++i)
      for (index j = 0; j < size_; ++j) Z(i, j) = A(j, i) / (rows * columns);
  }

  index size_;
};

/// O_i += Σ_t w_t · V_{i + t − (width − 1)/2} for rows of one head: a product of a band of weights,
/// the same for every block of rows, with the values around the block.
template <class T>
class value_convolution {
 public:
  value_convolution(index width, index columns) : width_(width), columns_(columns) {}

  static constexpr index block = 64;
  [[nodiscard]] index scratch() const {
    return round_up(block * reach(), 16) + input_product_scratch<T>(columns_);
  }

  void run(const product_kernels<T>& kernels, const matrix_view<T>& weights,
           const matrix_view<T>& V, const mutable_matrix_view<T>& O, range rows, T* space) const {
    const index half = (width_ - 1) / 2;
    for (index i = 0; i < rows.count(); ++i)
      for (index j = 0; j < reach(); ++j) {
        const index t = j - i;
        space[i * reach() + j] = t >= 0 && t < width_ ? weights(0, t) : T(0);
      }
    const range around = intersection({rows.begin - half, rows.end + half}, {0, V.rows});
    const matrix_view<T> band{space + (around.begin - (rows.begin - half)), rows.count(),
                              around.count(), reach(), 1};
    const mutable_matrix_view<T> out = O.rows_from(rows.begin, rows.count());
    small_product(kernels, band, V.rows_from(around.begin, around.count()), out,
                  space + round_up(block * reach(), 16), as_input(out));
  }

 private:
  [[nodiscard]] index reach() const { return block + width_ - 1; }

  index width_;
  index columns_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
