// A predicate is convertible to a score function, so a bare lambda could silently be taken for one.
// expect: softlook: an argument after V is no policy
// expect: transforms::map(f)
// expect: masks::where(f)
#include "softlook/softlook.hpp"

Eigen::MatrixXf call(const Eigen::MatrixXf& X) {
  const auto before = [](auto i, auto j) { return j <= i; };
#ifdef MUST_FAIL
  return softlook::attention(X, X, X, before);
#else
  return softlook::attention(X, X, X, softlook::masks::where(before));
#endif
}
