// expect: softlook: this layer takes an executor and options{
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const softlook::linear_layer<float>& layer, const Eigen::MatrixXf& X) {
#ifdef MUST_FAIL
  return layer(X, softlook::masks::causal_top_left{});
#else
  return layer(X, softlook::exec::sequential{}, softlook::options{});
#endif
}
