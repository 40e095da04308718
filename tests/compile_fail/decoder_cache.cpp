// expect: softlook: a cache holds one sequence
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const softlook::transformer_decoder<float>& decoder, const Eigen::MatrixXf& X,
                     softlook::transformer_decoder_cache<float>& cache) {
#ifdef MUST_FAIL
  const std::int32_t at[] = {0, 1, 2};
  return decoder.step(X, cache, softlook::for_target(softlook::segments{at}));
#else
  return decoder.step(X, cache);
#endif
}
