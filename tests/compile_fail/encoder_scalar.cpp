// expect: softlook: a layer in T is applied to matrices of T
#include "softlook/softlook.hpp"

void call(const softlook::transformer_encoder<double>& stack, const Eigen::MatrixXf& X,
          Eigen::MatrixXd& Y) {
#ifdef MUST_FAIL
  stack.into(X, Y);
#else
  stack.into(X.cast<double>(), Y);
#endif
}
