#pragma once

#include <cmath>
#include <limits>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup attention
/// \{

/// Attention over a part of the keys: the normalised output and the natural log-sum-exp of the
/// scores of each row. Together they are all that later keys need to know.
template <class Matrix>
struct attention_state {
  using scalar = typename Matrix::Scalar;
  using vector = Eigen::Matrix<scalar, Eigen::Dynamic, 1>;
  Matrix output;
  vector log_sum_exp;
};

/// The state before any key: zeros and −∞, the identity of merge.
template <class Matrix>
[[nodiscard]] attention_state<Matrix> empty_state(index queries, index values) {
  using scalar = typename Matrix::Scalar;
  return {Matrix::Zero(queries, values), attention_state<Matrix>::vector::Constant(
                                             queries, -std::numeric_limits<scalar>::infinity())};
}

/// The state over the keys of both, as if they had been attended in one call:
///   L = log(e^{L_a} + e^{L_b}),  O = e^{L_a − L} O_a + e^{L_b − L} O_b.
/// Associative and commutative up to rounding. A row that is empty in both stays empty.
///
/// \see Ye et al., "Cascade Inference", 2024 (FlashInfer); Dao et al., "Flash-Decoding", 2023.
/// \throws shape_error unless both have the same number of rows and of values.
template <class Matrix>
[[nodiscard]] attention_state<Matrix> merge(const attention_state<Matrix>& a,
                                            const attention_state<Matrix>& b) {
  using scalar = typename Matrix::Scalar;
  detail::check_sizes("merge", "b.output.rows()", b.output.rows(), "a.output.rows()",
                      a.output.rows(), "both states belong to the same queries");
  detail::check_sizes("merge", "b.output.cols()", b.output.cols(), "a.output.cols()",
                      a.output.cols(), "both states hold values of one size");
  detail::check_sizes("merge", "a.log_sum_exp.size()", a.log_sum_exp.size(), "a.output.rows()",
                      a.output.rows(), "one log-sum-exp for each row");
  detail::check_sizes("merge", "b.log_sum_exp.size()", b.log_sum_exp.size(), "b.output.rows()",
                      b.output.rows(), "one log-sum-exp for each row");
  constexpr scalar nothing = -std::numeric_limits<scalar>::infinity();
  attention_state<Matrix> both{a.output, a.log_sum_exp};
  for (index i = 0; i < a.output.rows(); ++i) {
    const scalar left = a.log_sum_exp[i], right = b.log_sum_exp[i];
    if (right == nothing) continue;
    if (left == nothing) {
      both.output.row(i) = b.output.row(i);
      both.log_sum_exp[i] = right;
      continue;
    }
    const scalar top = left > right ? left : right, low = left > right ? right : left;
    const scalar ratio = std::exp(low - top);  // ≤ 1: nothing overflows
    const scalar larger = 1 / (1 + ratio), smaller = ratio / (1 + ratio);
    both.output.row(i) = (left > right ? larger : smaller) * a.output.row(i) +
                         (left > right ? smaller : larger) * b.output.row(i);
    both.log_sum_exp[i] = top + std::log1p(ratio);
  }
  return both;
}

/// \}

SOFTLOOK_NAMESPACE_END
