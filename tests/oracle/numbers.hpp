// The number type of the oracle. Eigen only stores its matrices: sums are plain loops in the order
// in which the papers write them, over pointers where they take most of the time of a test, which
// is not optimised.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <limits>

#include "softlook/core/types.hpp"

namespace oracle {

using real = long double;
using matrix = Eigen::Matrix<real, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using column = Eigen::Matrix<real, Eigen::Dynamic, 1>;
using softlook::index;

inline constexpr real infinity = std::numeric_limits<real>::infinity();

template <class Expression>
matrix widen(const Eigen::DenseBase<Expression>& expression) {
  const typename Expression::PlainObject plain = expression;
  matrix wide(plain.rows(), plain.cols());
  for (index i = 0; i < plain.rows(); ++i) {
    for (index j = 0; j < plain.cols(); ++j) wide(i, j) = static_cast<real>(plain(i, j));
  }
  return wide;
}

template <class T>
matrix widen(const softlook::matrix_view<T>& view) {
  matrix wide(view.rows, view.cols);
  for (index i = 0; i < view.rows; ++i) {
    for (index j = 0; j < view.cols; ++j) wide(i, j) = static_cast<real>(view(i, j));
  }
  return wide;
}

inline real inner_product(const matrix& a, index row_of_a, const matrix& b, index row_of_b) {
  const real *x = a.data() + row_of_a * a.cols(), *y = b.data() + row_of_b * b.cols();
  real sum = 0;
  for (index f = 0, d = a.cols(); f < d; ++f) sum += x[f] * y[f];
  return sum;
}

/// X·W, row by row.
inline matrix product(const matrix& X, const matrix& W) {
  const index d = X.cols(), width = W.cols();
  matrix result(X.rows(), width);
  const real* const w = W.data();
  for (index i = 0; i < X.rows(); ++i) {
    const real* x = X.data() + i * d;
    for (index a = 0; a < width; ++a) {
      real sum = 0;
      for (index f = 0; f < d; ++f) sum += x[f] * w[f * width + a];
      result(i, a) = sum;
    }
  }
  return result;
}

}  // namespace oracle
