// expect: softlook: a layer_norm<T> or rms_norm<T> is applied to matrices of T
#include "softlook/softlook.hpp"

Eigen::MatrixXd call(const softlook::layer_norm<double>& layer, const Eigen::MatrixXf& X) {
#ifdef MUST_FAIL
  return layer(X).cast<double>();
#else
  return layer(X.cast<double>());
#endif
}
