#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "softlook/core/types.hpp"

// α-entmax of one row, in double. With d_j = z_j − max z ≤ 0 a weight is
//   p_j = [1 + (α − 1)(d_j − s)]₊^{1/(α−1)},  s ≥ 0 such that Σ p_j = 1,
// which is the papers' [(α−1) z_j − τ]₊^{1/(α−1)} with the row's maximum taken out; for α → 1 it
// becomes exp(d_j − s) without loss, s being the log-sum-exp.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// The keys of a row that may have weight, lowest first, and their d_j, later their weights. Room
/// for as many as the row has entries.
struct entmax_support {
  std::int32_t* keys = nullptr;
  double* weights = nullptr;
  index count = 0;
  bool nan = false;  // the row holds NaN or +∞; its weights are NaN
};

/// p and −dp/ds at x = d − s > −1/(α − 1).
struct entmax_term {
  double weight;
  double slope;
};

// A curve says where a weight is alive, what it is there, and the step of solve_by_newton:
//   Σ·(1 − Σ^{1−α}) / ((α − 1)·slope)  for the sums of weights and of slopes.

struct sparsemax_curve {  // α = 2
  [[nodiscard]] bool alive(double x) const { return x > -1; }
  [[nodiscard]] entmax_term at(double x) const { return {1 + x, 1}; }
  [[nodiscard]] double step(const entmax_term& sum) const { return (sum.weight - 1) / sum.slope; }
};

struct entmax15_curve {  // α = 1.5
  [[nodiscard]] bool alive(double x) const { return x > -2; }
  [[nodiscard]] entmax_term at(double x) const {
    const double root = 1 + x / 2;
    return {root * root, root};
  }
  [[nodiscard]] double step(const entmax_term& sum) const {
    return 2 * (sum.weight - std::sqrt(sum.weight)) / sum.slope;
  }
};

struct entmax_curve {
  double alpha;
  [[nodiscard]] bool alive(double x) const { return (alpha - 1) * x > -1; }
  [[nodiscard]] entmax_term at(double x) const {
    const double base = (alpha - 1) * x;
    const double weight = std::exp(std::log1p(base) / (alpha - 1));
    return {weight, weight / (1 + base)};
  }
  [[nodiscard]] double step(const entmax_term& sum) const {
    const double fall = -std::expm1((1 - alpha) * std::log(sum.weight));
    return sum.weight * fall / ((alpha - 1) * sum.slope);
  }
};

inline void normalise(const entmax_support& at) {
  double sum = 0;
  for (index k = 0; k < at.count; ++k) sum += at.weights[k];
  for (index k = 0; k < at.count; ++k) at.weights[k] /= sum;
}

/// Drops what has no weight at s.
template <class Curve>
void keep_alive(entmax_support& at, const Curve& curve, double s) {
  index kept = 0;
  for (index k = 0; k < at.count; ++k) {
    at.keys[kept] = at.keys[k];
    at.weights[kept] = at.weights[k];
    kept += curve.alive(at.weights[k] - s) ? 1 : 0;
  }
  at.count = kept;
}

/// Newton's method from s = 0 for α ≤ 2, on (Σ p)^{α−1}: with β = 1/(α − 1) ≥ 1 that is the norm
/// ‖u₊‖_β of the bases u_j = 1 + (α − 1)(d_j − s), convex and falling in s, and nearly linear. So
/// no step passes the root, a key once without weight is out for good, and the product of value and
/// slope falls at least fourfold in each step, which bounds their number by log₄(m²/ε).
template <class Curve>
void solve_by_newton(entmax_support& at, const Curve& curve) {
  double s = 0;
  keep_alive(at, curve, s);  // what is within rounding of the reach
  for (;;) {
    entmax_term sum{0, 0};
    for (index k = 0; k < at.count; ++k) {
      const entmax_term term = curve.at(at.weights[k] - s);
      sum.weight += term.weight;
      sum.slope += term.slope;
    }
    const double next = s + curve.step(sum);
    if (!(next > s)) break;
    s = next;
    keep_alive(at, curve, s);
  }
  for (index k = 0; k < at.count; ++k) at.weights[k] = curve.at(at.weights[k] - s).weight;
}

/// Bisection for α > 2, where weights rise infinitely steeply at the edge of the support: over
/// t = ln u with u = 1 − (α − 1)s, the largest weight's base, which is small beside 1.
inline void solve_by_bisection(entmax_support& at, double alpha) {
  const double rate = alpha - 1;
  const auto weight = [&](double d, double u) {
    const double base = u + rate * d;
    return base > 0 ? std::pow(base, 1 / rate) : 0.0;
  };
  constexpr double smallest = -708;  // exp() of it is still a normal number
  double low = std::max(-rate * std::log(double(at.count)), smallest), high = 0;
  for (double t = (low + high) / 2; t > low && t < high; t = (low + high) / 2) {
    const double u = std::exp(t);
    double sum = 0;
    for (index k = 0; k < at.count; ++k) sum += weight(at.weights[k], u);
    (sum < 1 ? low : high) = t;
  }
  const double u = std::exp(high);
  index kept = 0;
  for (index k = 0; k < at.count; ++k) {
    const double p = weight(at.weights[k], u);
    at.keys[kept] = at.keys[k];
    at.weights[kept] = p;
    kept += p > 0 ? 1 : 0;
  }
  at.count = kept;
}

/// The weights of `count` scores, the first of which belongs to key `first`. −∞ has no weight; a
/// row of nothing else has an empty support.
template <class T>
void entmax_row(const T* scores, index count, index first, double alpha, entmax_support& at) {
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  T top = lowest;
  bool nan = false;
  for (index j = 0; j < count; ++j) {
    top = scores[j] > top ? scores[j] : top;
    nan |= std::isnan(scores[j]);
  }
  at.count = 0;
  at.nan = nan || top == -lowest;
  if (at.nan || top == lowest) return;
  const double reach = -1 / (alpha - 1);
  for (index j = 0; j < count; ++j) {
    const double d = double(scores[j]) - double(top);
    at.keys[at.count] = static_cast<std::int32_t>(first + j);
    at.weights[at.count] = d;
    at.count += d > reach ? 1 : 0;
  }
  if (alpha == 2)
    solve_by_newton(at, sparsemax_curve{});
  else if (alpha == 1.5)
    solve_by_newton(at, entmax15_curve{});
  else if (alpha < 2)
    solve_by_newton(at, entmax_curve{alpha});
  else
    solve_by_bisection(at, alpha);
  normalise(at);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
