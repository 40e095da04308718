// expect: softlook: the score of a multi-head layer is scaled dot-product
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const softlook::multi_head<float>& layer, const Eigen::MatrixXf& X) {
#ifdef MUST_FAIL
  return layer(X, X, X, softlook::scores::cosine{});
#else
  return layer(X, X, X, softlook::transforms::soft_cap{2.0});
#endif
}
