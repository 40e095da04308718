// expect: softlook: the parameters must have the scalar type of luong_attention<T>
#include "softlook/softlook.hpp"

namespace scores = softlook::scores;

auto call(const Eigen::MatrixXf& W) {
#ifdef MUST_FAIL
  return softlook::luong_attention<double>(scores::general{W});
#else
  return softlook::luong_attention<float>(scores::general{W});
#endif
}
