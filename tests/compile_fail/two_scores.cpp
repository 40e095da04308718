// expect: softlook: give at most one score
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X) {
#ifdef MUST_FAIL
  return softlook::attention(X, X, X, softlook::scores::dot{}, softlook::scores::cosine{});
#else
  return softlook::attention(X, X, X, softlook::scores::cosine{});
#endif
}
