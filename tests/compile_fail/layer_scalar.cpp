// expect: softlook: a layer in T is applied to matrices of T
#include "softlook/softlook.hpp"

Eigen::MatrixXd call(const softlook::multi_head<double>& layer, const Eigen::MatrixXf& X) {
#ifdef MUST_FAIL
  return layer(X, X, X);
#else
  const Eigen::MatrixXd wide = X.cast<double>();
  return layer(wide, wide, wide);
#endif
}
