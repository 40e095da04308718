#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "softlook/core/types.hpp"
#include "softlook/engine/kernels/args.hpp"
#include "softlook/engine/run/tasks.hpp"

// Monotonic attention, row by row, in double. Energies of −∞ are keys that cannot be chosen.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

inline constexpr double log_of_nothing = -std::numeric_limits<double>::infinity();

/// ln(1 + e^x) without overflow.
[[nodiscard]] inline double softplus(double x) {
  return (x > 0 ? x : 0) + std::log1p(std::exp(-std::abs(x)));
}

/// ln(e^a + e^b); −∞ is nothing, NaN stays NaN.
[[nodiscard]] inline double log_add(double a, double b) {
  const double top = a > b ? a : b, low = a > b ? b : a;
  return top == log_of_nothing ? low : top + std::log1p(std::exp(low - top));
}

[[nodiscard]] inline double log_weight(double weight) {
  return weight == 0 ? log_of_nothing : std::log(weight);  // log(0) would raise FE_DIVBYZERO
}

/// sigmoid(e) and 1 − sigmoid(e), both to full relative accuracy.
struct stop_or_go {
  double stop;
  double go;
};

[[nodiscard]] inline stop_or_go decision(double energy) {
  const double t = std::exp(-std::abs(energy)), most = 1 / (1 + t), least = t / (1 + t);
  return energy > 0 ? stop_or_go{most, least} : stop_or_go{least, most};
}

/// α_j = p_j·q_j, q_j = (1 − p_{j−1})·q_{j−1} + previous_j. `row` holds previous and becomes α.
inline void monotonic_recursion(const double* energies, index keys, double* row) {
  double arriving = 0, go = 1;
  for (index j = 0; j < keys; ++j) {
    arriving = arriving * go + row[j];
    const stop_or_go p = decision(energies[j]);
    row[j] = p.stop * arriving;
    go = p.go;
  }
}

/// The same in logarithms, for all keys at once. (ln a, ln b) ∘ (ln a', ln b') is an associative
/// operation on steps q → a·q + b, so blocks of keys are independent tasks, whose results are
/// joined in order. Products are sums of logarithms of one sign and sums have positive terms only:
/// nothing is divided, so nothing need be clipped.
class monotonic_scan {
 public:
  explicit monotonic_scan(index keys)
      : keys_(keys), passed_(std::size_t(keys)), arrived_(std::size_t(keys)) {}

  /// `row` holds ln previous and becomes ln α.
  void run(const executor_ref& exec, const double* energies, double* row) {
    const index blocks = ceil_div(keys_, block);
    run_tasks(exec, blocks, [&](index b, index) { begin_block(keys_of(b), energies, row); });
    std::vector<double> before(std::size_t(blocks), log_of_nothing);  // ln q at a block's end
    for (index b = 1; b < blocks; ++b) {
      const auto last = std::size_t(keys_of(b).begin - 1);
      before[std::size_t(b)] = log_add(before[std::size_t(b - 1)] + passed_[last], arrived_[last]);
    }
    run_tasks(exec, blocks, [&](index b, index) {
      const range keys = keys_of(b);
      for (index j = keys.begin; j < keys.end; ++j) {
        const auto at = std::size_t(j);
        row[j] =
            log_add(before[std::size_t(b)] + passed_[at], arrived_[at]) - softplus(-energies[j]);
      }
    });
  }

 private:
  static constexpr index block = 1024;

  [[nodiscard]] range keys_of(index b) const {
    return {b * block, std::min((b + 1) * block, keys_)};
  }
  void begin_block(range keys, const double* energies, const double* row) {
    double passed = 0, arrived = log_of_nothing;
    for (index j = keys.begin; j < keys.end; ++j) {
      const double go = j > 0 ? -softplus(energies[j - 1]) : 0;
      passed += go;
      arrived = log_add(arrived + go, row[j]);
      passed_[std::size_t(j)] = passed;
      arrived_[std::size_t(j)] = arrived;
    }
  }

  index keys_;
  std::vector<double> passed_, arrived_;
};

/// Where hard monotonic attention stands: at a key, past the last one (`key` = number of keys), or
/// nowhere known, after a NaN.
struct monotonic_head {
  index key = 0;
  bool lost = false;
};

/// The first key that had a weight.
template <class Row>
[[nodiscard]] monotonic_head head_of(const Row& previous) {
  for (index j = 0; j < previous.size(); ++j)
    if (!(previous[j] == 0)) return {j, std::isnan(double(previous[j]))};
  return {previous.size(), false};
}

/// Moves to the first key from `head.key` on whose energy(j) is positive.
template <class Energy>
void advance(monotonic_head& head, index keys, Energy&& energy) {
  for (; !head.lost && head.key < keys; ++head.key) {
    const double e = energy(head.key);
    head.lost = std::isnan(e);
    if (head.lost || e > 0) return;
  }
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
