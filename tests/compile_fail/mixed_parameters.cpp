// expect: softlook: Q, K, V and the matrices of a policy must share one scalar type
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X, const Eigen::MatrixXd& W) {
#ifdef MUST_FAIL
  return softlook::attention(X, X, X, softlook::scores::general{W});
#else
  const Eigen::MatrixXf W_float = W.cast<float>();
  return softlook::attention(X, X, X, softlook::scores::general{W_float});
#endif
}
