// expect: softlook: give at most one linear-attention policy of a kind
#include "softlook/linear.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X) {
  namespace features = softlook::features;
#ifdef MUST_FAIL
  return softlook::linear_attention(X, X, X, features::relu{}, features::elu_plus_one{});
#else
  return softlook::linear_attention(X, X, X, features::relu{});
#endif
}
