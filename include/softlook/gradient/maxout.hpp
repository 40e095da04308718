#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "softlook/gradient/linear.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What maxout_forward() keeps of n rows: units·n numbers and as many bytes; 2·units·n numbers for
/// the way back.
template <class T>
struct saved_maxout {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix Y{};                          ///< n×units
  std::vector<std::uint8_t> second{};  ///< whether the second of a pair is the larger one
  matrix dX{};                         ///< n×2·units, written by maxout_backward()

  [[nodiscard]] std::size_t bytes() const {
    return detail::bytes_of(Y) + detail::bytes_of(dX) + second.size();
  }
};

/// The larger one of each pair of columns, Y_c = max(X_2c, X_2c+1) -> saved.Y: n×units. Of two
/// equal ones it is the first; where one is NaN, NaN.
/// \see Goodfellow et al., "Maxout Networks", 2013; Bahdanau et al., 2015, appendix A.2.2
/// \throws shape_error  unless X has an even number of columns.
template <class T, dense_expression X>
const auto& maxout_forward(const X& x, saved_maxout<T>& saved) {
  const index units = x.cols() / 2;
  detail::check_sizes("maxout_forward", "X.cols()", x.cols(), "twice the units", 2 * units,
                      "the columns are pairs");
  const detail::readable<X> in(x);
  const auto pairs = in.view();
  detail::shape_as(saved.Y, x.rows(), units);
  saved.second.resize(std::size_t(saved.Y.size()));
  std::size_t k = 0;
  for (index i = 0; i < x.rows(); ++i)
    for (index c = 0; c < units; ++c, ++k) {
      const T first = pairs(i, 2 * c), second = pairs(i, 2 * c + 1);
      const bool take_second = second > first || std::isnan(second);
      saved.second[k] = take_second;
      saved.Y(i, c) = take_second ? second : first;
    }
  return saved.Y;
}

/// The gradient of the larger one is that of the pair's output, the other's is 0.
/// \throws shape_error  unless dY has the output's shape.
template <class T, dense_expression G>
const auto& maxout_backward(saved_maxout<T>& saved, const G& dY) {
  detail::check_output_gradient("maxout_backward", dY, saved.Y);
  const detail::readable<G> given(dY);
  const auto d = given.view();
  detail::shape_as(saved.dX, d.rows, 2 * d.cols);
  std::size_t k = 0;
  for (index i = 0; i < d.rows; ++i)
    for (index c = 0; c < d.cols; ++c, ++k) {
      const bool second = saved.second[k] != 0;
      saved.dX(i, 2 * c) = second ? T(0) : d(i, c);
      saved.dX(i, 2 * c + 1) = second ? d(i, c) : T(0);
    }
  return saved.dX;
}

/// \}

SOFTLOOK_NAMESPACE_END
