// expect: softlook: attention is computed in float or double
// expect: cast the inputs first
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXi& X) {
#ifdef MUST_FAIL
  return softlook::attention(X, X, X).cast<float>();
#else
  const Eigen::MatrixXf X_float = X.cast<float>();
  return softlook::attention(X_float, X_float, X_float);
#endif
}
