#include "support/built_twice.hpp"

#include <softlook/attention.hpp>

// SOFTLOOK_BENCH_BUILD is the name of the function here: plain or native.

namespace built_twice {
namespace {

template <class T>
auto as_map(const fair_naive::matrix<T>& x) {
  using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using kind = std::conditional_t<std::is_const_v<T>, const matrix, matrix>;
  return Eigen::Map<kind, 0, Eigen::OuterStride<>>(x.data, x.rows, x.cols,
                                                   Eigen::OuterStride<>(x.stride));
}

}  // namespace

void SOFTLOOK_BENCH_BUILD(const arguments& a) {
  const auto Q = as_map(a.Q), K = as_map(a.K), V = as_map(a.V);
  auto O = as_map(a.O);
  if (a.causal)
    softlook::attention_into(Q, K, V, O, softlook::masks::causal_top_left{});
  else
    softlook::attention_into(Q, K, V, O);
}

}  // namespace built_twice
