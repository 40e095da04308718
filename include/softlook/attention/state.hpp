#pragma once

#include <cmath>
#include <limits>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/engine/kernels/softmax_state.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup attention
/// \{

/// Attention over a part of the keys: the normalised output and the natural log-sum-exp of the
/// scores of each row, and of each head where there are several. Together they are all that later
/// keys need to know.
template <class Matrix, class LogSumExp = Eigen::Matrix<detail::arithmetic<typename Matrix::Scalar>,
                                                        Eigen::Dynamic, 1>>
struct attention_state {
  using scalar = typename Matrix::Scalar;
  using vector = Eigen::Matrix<detail::arithmetic<scalar>, Eigen::Dynamic, 1>;
  using log_sum_exp_type = LogSumExp;
  Matrix output;          ///< n×e, or n×(heads·e)
  LogSumExp log_sum_exp;  ///< n, or n×heads
};

/// The state of a call with heads{…}.
template <class Matrix>
using multi_head_state = attention_state<Matrix, detail::wide_matrix_like<Matrix>>;

/// The state before any key: zeros and −∞, the identity of merge.
template <class Matrix>
[[nodiscard]] attention_state<Matrix> empty_state(index queries, index values) {
  using vector = typename attention_state<Matrix>::vector;
  return {Matrix::Zero(queries, values),
          vector::Constant(queries, -std::numeric_limits<typename vector::Scalar>::infinity())};
}

/// The state over the keys of both, as if they had been attended in one call:
///   L = log(e^{L_a} + e^{L_b}),  O = e^{L_a − L} O_a + e^{L_b − L} O_b.
/// Associative and commutative up to rounding. A row that is empty in both stays empty.
///
/// \see Ye et al., "Cascade Inference", 2024 (FlashInfer); Dao et al., "Flash-Decoding", 2023.
/// \throws shape_error unless both have the same number of rows, of values and of heads.
template <class Matrix, class LogSumExp>
[[nodiscard]] attention_state<Matrix, LogSumExp> merge(
    const attention_state<Matrix, LogSumExp>& a, const attention_state<Matrix, LogSumExp>& b) {
  using scalar = typename LogSumExp::Scalar;
  using stored = typename Matrix::Scalar;
  detail::check_sizes("merge", "b.output.rows()", b.output.rows(), "a.output.rows()",
                      a.output.rows(), "both states belong to the same queries");
  detail::check_sizes("merge", "b.output.cols()", b.output.cols(), "a.output.cols()",
                      a.output.cols(), "both states hold values of one size");
  detail::check_sizes("merge", "a.log_sum_exp.size()", a.log_sum_exp.rows(), "a.output.rows()",
                      a.output.rows(), "one log-sum-exp for each row");
  detail::check_sizes("merge", "b.log_sum_exp.size()", b.log_sum_exp.rows(), "b.output.rows()",
                      b.output.rows(), "one log-sum-exp for each row");
  const index heads = a.log_sum_exp.cols();
  detail::check_sizes("merge", "b.log_sum_exp.cols()", b.log_sum_exp.cols(), "a.log_sum_exp.cols()",
                      heads, "both states have the same heads");
  if (heads < 1 || a.output.cols() % heads != 0)
    detail::raise_sizes("merge", "a.output.cols()", a.output.cols(), "a.log_sum_exp.cols()", heads,
                        "every head has the same number of columns");
  const index values = a.output.cols() / heads;
  constexpr scalar nothing = -std::numeric_limits<scalar>::infinity();
  attention_state<Matrix, LogSumExp> both{a.output, a.log_sum_exp};
  for (index h = 0; h < heads; ++h)
    for (index i = 0; i < a.output.rows(); ++i) {
      const scalar left = a.log_sum_exp(i, h), right = b.log_sum_exp(i, h);
      if (right == nothing) continue;
      const auto from_a = a.output.row(i).segment(h * values, values);
      const auto from_b = b.output.row(i).segment(h * values, values);
      auto to = both.output.row(i).segment(h * values, values);
      if (left == nothing) {
        to = from_b;
        both.log_sum_exp(i, h) = right;
        continue;
      }
      const auto merged = detail::merge_states(left, right);
      to = (merged.of_left * from_a.template cast<scalar>() +
            merged.of_right * from_b.template cast<scalar>())
               .template cast<stored>();
      both.log_sum_exp(i, h) = merged.log_sum_exp;
    }
  return both;
}

/// \}

SOFTLOOK_NAMESPACE_END
