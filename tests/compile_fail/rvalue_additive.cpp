// expect: deleted
// expect: a view of a temporary would dangle
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X) {
  const Eigen::VectorXf v = Eigen::VectorXf::Ones(X.cols());
#ifdef MUST_FAIL
  return softlook::attention(X, X, X, softlook::scores::additive_projected{Eigen::VectorXf(v)});
#else
  return softlook::attention(X, X, X, softlook::scores::additive_projected{v});
#endif
}
