// A predicate is convertible to a score function, so a bare lambda could silently be taken for one.
// expect: softlook
// expect: masks::where
// expect: transforms::map
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X) {
  const auto before = [](auto i, auto j) { return j <= i; };
#ifdef MUST_FAIL
  return softlook::attention(X, X, X, before);
#else
  return softlook::attention(X, X, X, softlook::masks::where(before));
#endif
}
