// expect: softlook: the parameters must have the scalar type of bahdanau_attention<T>
#include "softlook/softlook.hpp"

namespace scores = softlook::scores;

auto call(const Eigen::MatrixXf& W, const Eigen::VectorXf& v) {
#ifdef MUST_FAIL
  return softlook::bahdanau_attention<double>(scores::additive{W, W, v});
#else
  return softlook::bahdanau_attention<float>(scores::additive{W, W, v});
#endif
}
