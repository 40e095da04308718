#pragma once

#include <cmath>
#include <limits>

#include "softlook/core/config.hpp"

// The state of an online softmax over numbers, in natural units.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

#include "softlook/engine/stamped/softmax/softmax_state.inl"

template <class T>
struct natural_algebra {
  using value = T;
  [[nodiscard]] static value nothing() { return -std::numeric_limits<T>::infinity(); }
  [[nodiscard]] static value zero() { return 0; }
  [[nodiscard]] static value exp(value x) { return std::exp(x); }
  [[nodiscard]] static value finite(value top) { return top == nothing() ? T(0) : top; }
  [[nodiscard]] static value multiply_add(value a, value b, value c) { return a * b + c; }
  [[nodiscard]] static value reciprocal_or_one(value x) { return x == 0 ? T(1) : 1 / x; }
};

template <class T>
using natural_softmax = softmax_state<natural_algebra<T>>;

/// What two states of one query over different keys, whose outputs are normalised, are multiplied
/// by to be one, and its log-sum-exp.
template <class T>
struct merged_states {
  T of_left;
  T of_right;
  T log_sum_exp;
};
/// Of two log-sum-exps that are not −∞; nothing overflows.
template <class T>
[[nodiscard]] merged_states<T> merge_states(T left, T right) {
  const bool left_is_larger = left > right;
  const T top = left_is_larger ? left : right, low = left_is_larger ? right : left;
  // A normalised state has l = 1 relative to its log-sum-exp.
  natural_softmax<T> all{top, 1};
  const T ratio = natural_softmax<T>{low, 1}.merge_into(top, all.sum);  // ≤ 1
  const T larger = all.finish(), smaller = ratio / all.sum;
  return {left_is_larger ? larger : smaller, left_is_larger ? smaller : larger,
          top + std::log1p(ratio)};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
