// A mask is no policy of linear attention: what is causal has a name of its own.
// expect: softlook: an argument of linear attention is no policy
#include "softlook/attention.hpp"
#include "softlook/linear.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X) {
#ifdef MUST_FAIL
  return softlook::linear_attention(X, X, X, softlook::masks::causal_top_left{});
#else
  return softlook::causal_linear_attention(X, X, X);
#endif
}
