// expect: rounds the products of float in attention with dot scores
#include "softlook/low_precision.hpp"

#include "softlook/score/additive.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X, const Eigen::RowVectorXf& v) {
#ifdef MUST_FAIL
  return softlook::attention(X, X, X, softlook::scores::additive_projected{v},
                             softlook::low_precision{});
#else
  return softlook::attention(X, X, X, softlook::scores::additive_projected{v});
#endif
}
