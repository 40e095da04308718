#pragma once

#include <cmath>

#include "softlook/linear/attention.hpp"

// Slopes of what linear attention is made of: feature maps and divisors.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// dφ(X) to dX for a user's feature map.
template <class T>
struct feature_slopes {
  const void* self = nullptr;
  void (*back)(const void* self, const char* where, const matrix_view<T>& X,
               const matrix_view<T>& dY, const mutable_matrix_view<T>& dX) = nullptr;
};

template <class T, class Map>
[[nodiscard]] feature_slopes<T> slopes_of_map(const Map& m) {
  return {&m, [](const void* self, const char* where, const matrix_view<T>& X,
                 const matrix_view<T>& dY, const mutable_matrix_view<T>& dX) {
            using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
            const matrix d = static_cast<const Map*>(self)->f.backward(map_of<Eigen::ColMajor>(X),
                                                                       map_of<Eigen::ColMajor>(dY));
            check_sizes(where, "features::map backward rows()", d.rows(), "rows given", X.rows,
                        "a row for each row");
            check_sizes(where, "features::map backward cols()", d.cols(), "columns given", X.cols,
                        "a column for each column");
            for (index i = 0; i < dX.rows; ++i)
              for (index c = 0; c < dX.cols; ++c) dX(i, c) = d(i, c);
          }};
}

/// One number of a feature map, and its slope.
template <class T>
[[nodiscard]] T feature_of(feature_kind kind, T x) {
  if (kind == feature_kind::relu) return x < T(0) ? T(0) : x;
  if (kind == feature_kind::elu_plus_one) return x > T(0) ? x + T(1) : math::exp(x);
  return x;
}
template <class T>
[[nodiscard]] T feature_slope_of(feature_kind kind, T x) {
  if (kind == feature_kind::relu) return x > T(0) ? T(1) : T(0);
  if (kind == feature_kind::elu_plus_one) return x > T(0) ? T(1) : math::exp(x);
  return T(1);
}

/// 1 / divisor, and the slopes of the divisor.
template <class T>
struct output_slope {
  T factor = 1;
  T by_sum = 0;    // by x = φ(q)·z
  T by_decay = 0;  // by the sum of decays
};

template <class T>
[[nodiscard]] output_slope<T> output_slope_of(divisor_kind kind, T x, T epsilon, T decay_sum) {
  if (kind == divisor_kind::one) return {};
  T divisor = x + epsilon, by_sum = 1, by_decay = 0;
  if (kind == divisor_kind::retention) {
    const T root = std::sqrt(decay_sum), size = std::abs(x);
    const bool larger = size > root || size != size;
    divisor = larger ? size : root;
    by_sum = larger ? std::copysign(T(1), x) : T(0);
    by_decay = larger || root == T(0) ? T(0) : T(0.5) / root;
  }
  if (divisor == T(0)) return {0, 0, 0};  // a row of zeros
  return {T(1) / divisor, by_sum, by_decay};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
