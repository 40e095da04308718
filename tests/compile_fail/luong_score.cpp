// expect: bahdanau_attention takes scores::additive{Wq, Wk, v}
#include "softlook/softlook.hpp"

namespace scores = softlook::scores;

auto call(const Eigen::MatrixXf& W, const Eigen::VectorXf& v) {
#ifdef MUST_FAIL
  return softlook::luong_attention<float>(scores::additive{W, W, v});
#else
  return softlook::luong_attention<float>(scores::concat{W, v});
#endif
}
