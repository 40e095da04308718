// expect: softlook: the score of a multi-head layer is scaled dot-product
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const softlook::transformer_encoder_layer<float>& layer,
                     const Eigen::MatrixXf& X) {
#ifdef MUST_FAIL
  return layer(X, softlook::scores::dot{});
#else
  return layer(X, softlook::masks::causal_top_left{});
#endif
}
