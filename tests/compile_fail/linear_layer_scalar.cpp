// expect: softlook: a linear_layer<T> is applied to matrices of T
#include "softlook/softlook.hpp"

Eigen::MatrixXd call(const softlook::linear_layer<double>& layer, const Eigen::MatrixXf& X) {
#ifdef MUST_FAIL
  return layer(X).cast<double>();
#else
  return layer(X.cast<double>());
#endif
}
