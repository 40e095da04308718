// expect: softlook: an rms_norm<T> is made of a vector of T
#include "softlook/softlook.hpp"

softlook::rms_norm<double> call(const Eigen::VectorXf& gain) {
#ifdef MUST_FAIL
  return softlook::rms_norm<double>(gain);
#else
  return softlook::rms_norm<double>(gain.cast<double>());
#endif
}
