// expect: deleted
// expect: a view of a temporary would dangle
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X) {
  const Eigen::MatrixXf W = Eigen::MatrixXf::Identity(X.cols(), X.cols());
#ifdef MUST_FAIL
  return softlook::attention(X, X, X, softlook::scores::general{Eigen::MatrixXf(W)});
#else
  return softlook::attention(X, X, X, softlook::scores::general{W});
#endif
}
