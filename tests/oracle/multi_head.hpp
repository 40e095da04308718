// Multi-head attention by its definition: one attention per query head, on copies of its columns.
#pragma once

#include "tests/oracle/attention.hpp"

namespace oracle {

struct multi_head_result {
  matrix output;
  matrix log_sum_exp;  ///< n×heads
  std::vector<matrix> weights;
};

template <class QExpr, class KExpr, class VExpr, class... Policies>
multi_head_result multi_head_attention(const QExpr& Q, const KExpr& K, const VExpr& V,
                                       index query_heads, index kv_heads,
                                       const Policies&... policies) {
  using T = typename QExpr::Scalar;
  using plain = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  const index d = Q.cols() / query_heads, dk = K.cols() / kv_heads, e = V.cols() / kv_heads;
  multi_head_result r{matrix::Zero(Q.rows(), e * query_heads), matrix::Zero(Q.rows(), query_heads),
                      {}};
  for (index h = 0; h < query_heads; ++h) {
    const index shared = h / (query_heads / kv_heads);
    const plain q = Q.middleCols(h * d, d), k = K.middleCols(shared * dk, dk);
    const plain v = V.middleCols(shared * e, e);
    const result one =
        attention(q, k, v, for_head{static_cast<std::int32_t>(h)}, policies...);
    r.output.middleCols(h * e, e) = one.output;
    r.log_sum_exp.col(h) = one.log_sum_exp;
    r.weights.push_back(one.weights);
  }
  return r;
}

}  // namespace oracle
