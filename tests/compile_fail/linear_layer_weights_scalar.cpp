// expect: softlook: a linear_layer<T> is made of matrices of T
#include "softlook/softlook.hpp"

softlook::linear_layer<double> call(const Eigen::MatrixXf& W) {
#ifdef MUST_FAIL
  return softlook::linear_layer<double>(W);
#else
  return softlook::linear_layer<double>(W.cast<double>());
#endif
}
