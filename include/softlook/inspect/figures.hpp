#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup inspect
/// \{

namespace inspect {
namespace detail {

/// A copy, number by number: an expression of Eigen would be compiled for each type of matrix.
template <dense_expression W>
[[nodiscard]] Eigen::MatrixXd in_double(const W& weights) {
  if constexpr (softlook::detail::has_strides<W>) {
    Eigen::MatrixXd copy(weights.rows(), weights.cols());
    double* to = copy.data();
    const auto* const from = weights.derived().data();
    const index rows = weights.rows(), down = weights.derived().rowStride();
    for (index j = 0; j < weights.cols(); ++j)
      for (index i = 0; i < rows; ++i)
        *to++ = static_cast<double>(from[i * down + j * weights.derived().colStride()]);
    return copy;
  } else {
    return weights.template cast<double>();
  }
}

}  // namespace detail

/// The entropy of each row, with 0 · ln 0 = 0,
///   H_i = −Σ_j w_ij · ln w_ij:
/// e^H is the number of keys that a query effectively looks at. An empty row has entropy 0.
template <dense_expression W>
[[nodiscard]] Eigen::VectorXd row_entropy(const W& weights) {
  const Eigen::MatrixXd w = detail::in_double(weights);
  Eigen::VectorXd entropy(w.rows());
  for (index i = 0; i < w.rows(); ++i) {
    double sum = 0;
    for (index j = 0; j < w.cols(); ++j) sum += w(i, j) == 0 ? 0 : 0 - w(i, j) * std::log(w(i, j));
    entropy[i] = sum;
  }
  return entropy;
}

struct key_weight {
  index key;
  double weight;
  friend bool operator==(const key_weight&, const key_weight&) = default;
};

/// For each query its `count` strongest keys, strongest first; of equal weights the earlier key.
/// Those of weight 0 (masked) and NaN are left out. \throws argument_error  if count is negative.
template <dense_expression W>
[[nodiscard]] auto strongest_keys(const W& weights, index count) {
  using row_type = std::vector<softlook::detail::later<W, key_weight>>;
  if (count < 0)
    softlook::detail::raise_argument("inspect::strongest_keys", "count", static_cast<double>(count),
                                     "a number of keys is at least 0");
  const Eigen::MatrixXd w = detail::in_double(weights);
  std::vector<row_type> rows(static_cast<std::size_t>(w.rows()));
  for (index i = 0; i < w.rows(); ++i) {
    auto& row = rows[static_cast<std::size_t>(i)];
    for (index j = 0; j < w.cols(); ++j)
      if (w(i, j) != 0 && !std::isnan(w(i, j))) row.push_back({j, w(i, j)});
    std::sort(row.begin(), row.end(), [](const key_weight& a, const key_weight& b) {
      return a.weight != b.weight ? a.weight > b.weight : a.key < b.key;
    });
    if (static_cast<index>(row.size()) > count) row.resize(static_cast<std::size_t>(count));
  }
  return rows;
}

}  // namespace inspect

/// \}

SOFTLOOK_NAMESPACE_END
