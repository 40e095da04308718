// expect: softlook: bahdanau_attention takes scores::additive{Wq, Wk, v}
#include "softlook/softlook.hpp"

namespace scores = softlook::scores;

auto call(const Eigen::MatrixXf& W, const Eigen::VectorXf& v) {
#ifdef MUST_FAIL
  static_cast<void>(W.size() + v.size());
  return softlook::bahdanau_attention<float>(scores::cosine{});
#else
  return softlook::bahdanau_attention<float>(scores::additive{W, W, v});
#endif
}
