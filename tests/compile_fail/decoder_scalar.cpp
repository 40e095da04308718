// expect: softlook: a layer in T is applied to matrices of T
#include "softlook/softlook.hpp"

void call(const softlook::transformer_decoder<double>& decoder, const Eigen::MatrixXf& X,
          const Eigen::MatrixXd& memory, Eigen::MatrixXd& Y) {
#ifdef MUST_FAIL
  decoder.into(X, memory, Y);
#else
  decoder.into(X.cast<double>(), memory, Y);
#endif
}
