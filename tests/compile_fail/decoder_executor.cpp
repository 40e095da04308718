// expect: softlook: for_source, for_target and for_memory take a mask, transforms, and segments
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const softlook::transformer_decoder<float>& decoder, const Eigen::MatrixXf& X,
                     const Eigen::MatrixXf& memory) {
  const softlook::exec::sequential alone;
#ifdef MUST_FAIL
  return decoder(X, memory, softlook::for_target(alone));
#else
  return decoder(X, memory, softlook::for_target(), alone);
#endif
}
