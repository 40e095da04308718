// Comparisons that a NaN cannot pass: `inf <= inf` holds and every comparison with NaN is false.
#pragma once

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <sstream>

namespace softlook_test {

/// The element (i, j), past Eigen where it lies in memory: programs that are not optimised spend
/// most of a comparison in Eigen's calls.
template <class Matrix>
auto elements_of(const Eigen::MatrixBase<Matrix>& values) {
  using Eigen::Index;
  if constexpr ((Matrix::Flags & Eigen::DirectAccessBit) != 0) {
    const auto* data = values.derived().data();
    const Index down = values.derived().rowStride(), along = values.derived().colStride();
    return [=](Index i, Index j) { return data[i * down + j * along]; };
  } else {
    return [&values](Index i, Index j) { return values(i, j); };
  }
}

/// max |actual − truth|; infinite where the shapes differ or one of the two is not finite and they
/// are not the same infinity (a log-sum-exp of −∞ is a legitimate value).
template <class Actual, class Truth>
double max_error(const Eigen::MatrixBase<Actual>& actual, const Eigen::MatrixBase<Truth>& truth) {
  if (actual.rows() != truth.rows() || actual.cols() != truth.cols()) {
    ADD_FAILURE() << "shape " << actual.rows() << "x" << actual.cols() << " instead of "
                  << truth.rows() << "x" << truth.cols();
    return std::numeric_limits<double>::infinity();
  }
  const auto found = elements_of(actual);
  const auto right = elements_of(truth);
  double worst = 0;
  for (Eigen::Index i = 0, rows = actual.rows(); i < rows; ++i) {
    for (Eigen::Index j = 0, cols = actual.cols(); j < cols; ++j) {
      const auto is = static_cast<long double>(found(i, j));
      const auto should_be = static_cast<long double>(right(i, j));
      if (is == should_be) continue;
      const long double error = std::fabs(is - should_be);
      if (!std::isfinite(is) || !std::isfinite(should_be)) {
        return std::numeric_limits<double>::infinity();
      }
      worst = std::max(worst, static_cast<double>(error));
    }
  }
  return worst;
}

template <class Actual>
bool all_finite(const Eigen::MatrixBase<Actual>& actual) {
  for (Eigen::Index i = 0; i < actual.rows(); ++i) {
    for (Eigen::Index j = 0; j < actual.cols(); ++j) {
      if (!std::isfinite(actual(i, j))) return false;
    }
  }
  return true;
}

template <class Matrix>
double max_magnitude(const Eigen::MatrixBase<Matrix>& values) {
  const auto value = elements_of(values);
  double worst = 0;
  for (Eigen::Index i = 0, rows = values.rows(); i < rows; ++i) {
    for (Eigen::Index j = 0, cols = values.cols(); j < cols; ++j) {
      const double size = std::fabs(static_cast<double>(value(i, j)));
      if (std::isfinite(size)) worst = std::max(worst, size);
    }
  }
  return worst;
}

/// Bit for bit, so that −0 and +0 differ; any NaN equals any NaN.
template <class Scalar>
bool same_bits(Scalar a, Scalar b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::memcmp(&a, &b, sizeof a) == 0;
}

template <class Left, class Right>
::testing::AssertionResult bitwise_equal(const Eigen::MatrixBase<Left>& left,
                                         const Eigen::MatrixBase<Right>& right) {
  if (left.rows() != right.rows() || left.cols() != right.cols()) {
    return ::testing::AssertionFailure() << "shapes differ: " << left.rows() << "x" << left.cols()
                                         << " and " << right.rows() << "x" << right.cols();
  }
  const auto one = elements_of(left);
  const auto other = elements_of(right);
  for (Eigen::Index i = 0, rows = left.rows(); i < rows; ++i) {
    for (Eigen::Index j = 0, cols = left.cols(); j < cols; ++j) {
      if (same_bits<typename Left::Scalar>(one(i, j), other(i, j))) continue;
      std::ostringstream text;
      text.precision(std::numeric_limits<typename Left::Scalar>::max_digits10);
      text << "at (" << i << ", " << j << ") of " << left.rows() << "x" << left.cols() << ": "
           << left(i, j) << " and " << right(i, j);
      return ::testing::AssertionFailure() << text.str();
    }
  }
  return ::testing::AssertionSuccess();
}

template <class Matrix>
bool row_is_nan(const Eigen::MatrixBase<Matrix>& values, Eigen::Index row) {
  for (Eigen::Index j = 0; j < values.cols(); ++j) {
    if (!std::isnan(values(row, j))) return false;
  }
  return true;
}

template <class Matrix>
bool row_is_zero(const Eigen::MatrixBase<Matrix>& values, Eigen::Index row) {
  for (Eigen::Index j = 0; j < values.cols(); ++j) {
    if (!(values(row, j) == 0)) return false;
  }
  return true;
}

}  // namespace softlook_test
