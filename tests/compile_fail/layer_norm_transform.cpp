// expect: softlook: this layer takes an executor and options{
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const softlook::layer_norm<float>& layer, const Eigen::MatrixXf& X) {
#ifdef MUST_FAIL
  return layer(X, softlook::transforms::soft_cap{2.0});
#else
  return layer(X, softlook::options{});
#endif
}
