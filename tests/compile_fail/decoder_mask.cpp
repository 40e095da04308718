// expect: softlook: this call has several attentions: give for_target(mask, transforms)
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const softlook::transformer_decoder<float>& decoder, const Eigen::MatrixXf& X,
                     const Eigen::MatrixXf& memory) {
#ifdef MUST_FAIL
  return decoder(X, memory, softlook::masks::causal_top_left{});
#else
  return decoder(X, memory, softlook::for_target(softlook::masks::causal_top_left{}));
#endif
}
