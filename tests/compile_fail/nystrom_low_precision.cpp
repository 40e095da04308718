// expect: nystrom_attention takes heads, an executor and options only
#include "softlook/low_precision.hpp"

#include "softlook/attention/nystrom.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X) {
#ifdef MUST_FAIL
  return softlook::nystrom_attention(X, X, X, softlook::nystrom{.landmarks = 4},
                                     softlook::low_precision{});
#else
  return softlook::nystrom_attention(X, X, X, softlook::nystrom{.landmarks = 4});
#endif
}
