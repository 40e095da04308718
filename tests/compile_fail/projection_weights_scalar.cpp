// expect: softlook: a projection<T> is made of matrices of T
#include "softlook/softlook.hpp"

softlook::projection<double> call(const Eigen::MatrixXf& W) {
#ifdef MUST_FAIL
  return softlook::projection<double>(W);
#else
  return softlook::projection<double>(W.cast<double>());
#endif
}
