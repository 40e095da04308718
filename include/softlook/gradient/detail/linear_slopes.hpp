#pragma once

#include <cmath>
#include <vector>

#include "softlook/linear/attention.hpp"
#include "softlook/linear/random_features.hpp"

// Slopes of what linear attention is made of: feature maps and divisors.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// dφ(X) of queries or of keys to dX, for a user's feature map and for random features.
template <class T>
struct feature_slopes {
  const void* self = nullptr;
  void (*back)(const void* self, const char* where, const matrix_view<T>& X, bool keys,
               const matrix_view<T>& dY, const mutable_matrix_view<T>& dX) = nullptr;
};

template <class T, class Map>
[[nodiscard]] feature_slopes<T> slopes_of_map(const Map& m) {
  return {&m, [](const void* self, const char* where, const matrix_view<T>& X, bool,
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

/// Of one row, in place of its z = root·W x, with φ_r = (e^{z_r − s} + ε)/√features: dz_r of every
/// r, where s is the largest z of a query's row and |root·x|²/2 of a key's, or with ε. Returns
/// −ds, for the latter.
template <class T>
[[nodiscard]] T random_row_back(const matrix_view<T>& dY, index i, T shift, bool by_row, T* z) {
  if (dY.cols == 0) return T(0);
  const T factor = T(1) / std::sqrt(T(dY.cols));
  index most = 0;
  for (index r = 1; by_row && r < dY.cols; ++r) most = z[r] > z[most] ? r : most;
  const T from = by_row ? shift + z[most] : shift;
  T sum = 0;
  for (index r = 0; r < dY.cols; ++r) {
    z[r] = factor * math::exp(z[r] - from) * dY(i, r);
    sum += z[r];
  }
  if (by_row) z[most] -= sum;
  return sum;
}

/// \see Choromanski et al., 2021, Lemma 1.
template <class T>
[[nodiscard]] feature_slopes<T> slopes_of_random(const random_features<T>& map) {
  return {map.calls().self, [](const void* self, const char*, const matrix_view<T>& X, bool keys,
                               const matrix_view<T>& dY, const mutable_matrix_view<T>& dX) {
            const auto& of = *static_cast<const random_projection<T>*>(self);
            const bool normed = keys || of.epsilon > 0;
            std::vector<T> z(std::size_t(X.rows * dY.cols)), norms(std::size_t(X.rows));
            of.project(best_instruction_set(), X, {z.data(), X.rows, dY.cols, dY.cols, 1});
            if (normed) of.half_norms(X, norms.data());
            for (index i = 0; i < X.rows; ++i) {
              T* const row = z.data() + i * dY.cols;
              const T shift = norms[std::size_t(i)] + (keys ? of.key_shift : T(0));
              const T by_norm = random_row_back(dY, i, shift, !keys, row);
              for (index c = 0; c < X.cols; ++c) {
                T sum = 0;
                for (index r = 0; r < dY.cols; ++r) sum += row[r] * of.W(r, c);
                dX(i, c) = of.root * sum - (normed ? of.root * of.root * by_norm * X(i, c) : T(0));
              }
            }
          }};
}

template <class P>
inline constexpr bool is_random_features = false;
template <class T>
inline constexpr bool is_random_features<random_features<T>> = true;

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
