// A gate looks at its matrix; a temporary would be gone before the call.
// expect: deleted
// expect: a view of a temporary would dangle
#include "softlook/linear.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X) {
  const Eigen::MatrixXf G = Eigen::MatrixXf::Zero(X.rows(), 1);
#ifdef MUST_FAIL
  return softlook::fast_weights(X, X, X, softlook::gates::log_decay{Eigen::MatrixXf(G)});
#else
  return softlook::fast_weights(X, X, X, softlook::gates::log_decay{G});
#endif
}
