// A policy looks at its matrix; a temporary would be gone before the call.
// expect: deleted
// expect: a view of a temporary would dangle
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X) {
  const Eigen::MatrixXf B = Eigen::MatrixXf::Zero(X.rows(), X.rows());
#ifdef MUST_FAIL
  return softlook::attention(X, X, X, softlook::transforms::bias{Eigen::MatrixXf(B)});
#else
  return softlook::attention(X, X, X, softlook::transforms::bias{B});
#endif
}
