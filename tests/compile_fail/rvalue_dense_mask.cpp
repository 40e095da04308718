// expect: deleted
// expect: a view of a temporary would dangle
#include "softlook/softlook.hpp"

using bools = Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic>;

Eigen::MatrixXf call(const Eigen::MatrixXf& X) {
  const bools M = bools::Constant(X.rows(), X.rows(), true);
#ifdef MUST_FAIL
  return softlook::attention(X, X, X, softlook::masks::dense{bools(M)});
#else
  return softlook::attention(X, X, X, softlook::masks::dense{M});
#endif
}
