// expect: softlook: give at most one mask
// expect: combine masks with &, | and !
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X) {
  const softlook::masks::causal_top_left causal;
  const softlook::masks::padding padding{.length = 3};
#ifdef MUST_FAIL
  return softlook::attention(X, X, X, causal, padding);
#else
  return softlook::attention(X, X, X, causal & padding);
#endif
}
