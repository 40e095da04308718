// expect: softlook: a layer_norm<T> is made of vectors of T
#include "softlook/softlook.hpp"

softlook::layer_norm<double> call(const Eigen::VectorXf& gain) {
#ifdef MUST_FAIL
  return softlook::layer_norm<double>(gain, gain);
#else
  return softlook::layer_norm<double>(gain.cast<double>(), gain.cast<double>());
#endif
}
