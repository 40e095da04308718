// expect: softlook: Q, K, V and the output must share one scalar type
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& Q, const Eigen::MatrixXd& K) {
#ifdef MUST_FAIL
  return softlook::attention(Q, K, K);
#else
  return softlook::attention(Q, K.cast<float>(), K.cast<float>());
#endif
}
