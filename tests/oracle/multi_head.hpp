// Multi-head attention by its definition: one attention per query head, on copies of its columns.
#pragma once

#include "tests/oracle/attention.hpp"

namespace oracle {

struct multi_head_result {
  matrix output;
  matrix log_sum_exp;  ///< n×heads
  std::vector<matrix> weights;
  matrix scores;  ///< the largest |score| of each head, raw or masked, in a row
};

inline real largest_finite(const matrix& X) {
  real largest = 0;
  for (index k = 0; k < X.size(); ++k) {
    const real size = std::fabs(X.data()[k]);
    if (std::isfinite(size)) largest = std::max(largest, size);
  }
  return largest;
}

/// Entry by entry: a block of a matrix without rows would step from a null pointer.
template <class Plain, class Matrix>
Plain columns_of(const Matrix& X, index first, index count) {
  Plain part(X.rows(), count);
  for (index i = 0; i < X.rows(); ++i)
    for (index c = 0; c < count; ++c) part(i, c) = X(i, first + c);
  return part;
}

template <class QExpr, class KExpr, class VExpr, class... Policies>
multi_head_result multi_head_attention(const QExpr& Q, const KExpr& K, const VExpr& V,
                                       index query_heads, index kv_heads,
                                       const Policies&... policies) {
  using T = typename QExpr::Scalar;
  using plain = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  const index d = Q.cols() / query_heads, dk = K.cols() / kv_heads, e = V.cols() / kv_heads;
  multi_head_result r{matrix::Zero(Q.rows(), e * query_heads),
                      matrix::Zero(Q.rows(), query_heads),
                      {},
                      matrix::Zero(1, query_heads)};
  for (index h = 0; h < query_heads; ++h) {
    const index shared = h / (query_heads / kv_heads);
    const plain q = columns_of<plain>(Q, h * d, d), k = columns_of<plain>(K, shared * dk, dk);
    const plain v = columns_of<plain>(V, shared * e, e);
    const result one =
        oracle::attention(q, k, v, for_head{static_cast<std::int32_t>(h)}, policies...);
    for (index i = 0; i < Q.rows(); ++i) {
      for (index c = 0; c < e; ++c) r.output(i, h * e + c) = one.output(i, c);
      r.log_sum_exp(i, h) = one.log_sum_exp(i);
    }
    r.weights.push_back(one.weights);
    r.scores(0, h) = std::max(largest_finite(one.raw), largest_finite(one.scores));
  }
  return r;
}

}  // namespace oracle
