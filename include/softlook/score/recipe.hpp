#pragma once

#include <optional>

#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// w_q·q + w_k·k + w_qk·(q ∘ k), each weight 1×d; without w_qk if that has no data.
template <class T>
struct trilinear_weights {
  matrix_view<T> q;
  matrix_view<T> k;
  matrix_view<T> qk;
};

/// Rows divided by √(Σ x² + ε), or √(mean of x² + ε), and multiplied with a gain for each feature,
/// 1×d.
template <class T>
struct row_norms {
  bool mean = false;
  double epsilon = 0;
  matrix_view<T> query_gain{};
  matrix_view<T> key_gain{};
};

/// What a score policy asks of the kernels. Two kernels exist, dot and additive; everything else is
/// a projection of the inputs before the loop.
template <class T>
struct score_recipe {
  bool additive = false;                            ///< v · tanh(q + k) instead of q · k
  bool scale_by_root = false;                       ///< default scale 1/√d instead of 1
  bool unit_rows = false;                           ///< divide rows by their Euclidean norm
  std::optional<row_norms<T>> norm{};               ///< the same with a gain
  std::optional<matrix_view<T>> project_queries{};  ///< Q·W first
  std::optional<matrix_view<T>> project_keys{};     ///< K·W first
  std::optional<matrix_view<T>> query_bias{};       ///< a row added to every projected query
  std::optional<trilinear_weights<T>> trilinear{};  ///< a dot product of d + 1 features
  matrix_view<T> v{};                               ///< additive: 1×a
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
