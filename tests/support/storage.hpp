// The same numbers in every kind of storage that an Eigen expression may have.
#pragma once

#include <Eigen/Core>

#include "tests/support/random.hpp"

namespace softlook_test {

template <class Scalar>
using strided_map =
    Eigen::Map<row_major<Scalar>, Eigen::Unaligned, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;

/// Owns a matrix as a strided map into a larger buffer; the gaps hold NaN, so reading one shows.
template <class Scalar>
class strided_copy {
 public:
  template <class Matrix>
  explicit strided_copy(const Matrix& values, Eigen::Index inner = 3, Eigen::Index gap = 5)
      : rows_(values.rows()), cols_(values.cols()), inner_(inner), outer_(inner * cols_ + gap) {
    buffer_ =
        column<Scalar>::Constant(rows_ * outer_ + 1, std::numeric_limits<Scalar>::quiet_NaN());
    auto target = map();
    for (Eigen::Index i = 0; i < rows_; ++i)
      for (Eigen::Index j = 0; j < cols_; ++j) target(i, j) = values(i, j);
  }

  strided_map<Scalar> map() {
    return {buffer_.data(), rows_, cols_,
            Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(outer_, inner_)};
  }

  /// Whether what lies between the elements is as it was.
  bool gaps_are_nan() const {
    for (Eigen::Index k = 0; k < buffer_.size(); ++k) {
      const bool element =
          k / outer_ < rows_ && k % outer_ < inner_ * cols_ && k % outer_ % inner_ == 0;
      if (!element && !std::isnan(buffer_[k])) return false;
    }
    return true;
  }

 private:
  Eigen::Index rows_, cols_, inner_, outer_;
  column<Scalar> buffer_;
};

/// A matrix with a margin of NaN around the values; block() is the values.
template <class Scalar>
class framed_copy {
 public:
  template <class Matrix>
  explicit framed_copy(const Matrix& values) : rows_(values.rows()), cols_(values.cols()) {
    around_ =
        col_major<Scalar>::Constant(rows_ + 4, cols_ + 3, std::numeric_limits<Scalar>::quiet_NaN());
    around_.block(1, 2, rows_, cols_) = values;
  }
  auto block() const { return around_.block(1, 2, rows_, cols_); }

 private:
  Eigen::Index rows_, cols_;
  col_major<Scalar> around_;
};

}  // namespace softlook_test
