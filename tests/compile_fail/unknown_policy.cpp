// expect: softlook: an argument after V is no policy
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X) {
#ifdef MUST_FAIL
  return softlook::attention(X, X, X, 8);
#else
  return softlook::attention(X, X, X, softlook::options{.scale = 8});
#endif
}
