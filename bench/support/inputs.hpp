#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <vector>

namespace bench {

using index = Eigen::Index;

template <class T>
using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Independent N(0, 1) entries; scores Q Kᵀ/√d then spread by about 1, as those of a layer do.
template <class T>
[[nodiscard]] matrix<T> random_matrix(index rows, index cols, std::uint64_t seed) {
  std::mt19937_64 source(seed);
  std::normal_distribution<T> normal;
  matrix<T> x(rows, cols);
  for (index k = 0; k < x.size(); ++k) x.data()[k] = normal(source);
  return x;
}

/// Rows to verify when all are too many: both ends, the edges of every plausible tile, and others.
[[nodiscard]] inline std::vector<index> sampled_rows(index n) {
  std::set<index> rows;
  if (n <= 128) {
    for (index i = 0; i < n; ++i) rows.insert(i);
  } else {
    std::mt19937_64 source(static_cast<std::uint64_t>(n));
    for (int k = 0; k < 12; ++k) rows.insert(static_cast<index>(source() % std::uint64_t(n)));
    for (index edge : {index{0}, index{16}, index{32}, index{48}, index{96}, index{192}, index{384},
                       n / 96 * 96, n / 48 * 48, n / 384 * 384, n / 2, n})
      for (index i : {edge - 1, edge})
        if (i >= 0 && i < n) rows.insert(i);
  }
  return {rows.begin(), rows.end()};
}

/// Keys [begin, end) of a query.
struct key_run {
  index begin = 0;
  index end = 0;
};

/// The largest |O − truth| over sampled rows, truth = softmax(score(i, j)) V over the keys
/// keys_of(i) by nested loops in double; NaN when any entry of O is not finite.
template <class Values, class Output, class Keys, class Score>
[[nodiscard]] double sampled_error(const Values& V, const Output& O, Keys keys_of, Score score) {
  if (!O.allFinite()) return std::numeric_limits<double>::quiet_NaN();
  double worst = 0;
  Eigen::VectorXd weights(V.rows());
  for (const index i : sampled_rows(O.rows())) {
    const key_run live = keys_of(i);
    double highest = -std::numeric_limits<double>::infinity();
    for (index j = live.begin; j < live.end; ++j)
      highest = std::max(highest, weights[j] = score(i, j));
    double sum = 0;
    for (index j = live.begin; j < live.end; ++j)
      sum += weights[j] = std::exp(weights[j] - highest);
    Eigen::RowVectorXd truth = Eigen::RowVectorXd::Zero(V.cols());
    for (index j = live.begin; j < live.end; ++j)
      truth += weights[j] * V.row(j).template cast<double>();
    worst = std::max(worst, (truth / sum - O.row(i).template cast<double>()).cwiseAbs().maxCoeff());
  }
  return worst;
}

/// All keys, or those up to the query's own position.
template <class Values, class Output, class Score>
[[nodiscard]] double sampled_error(const Values& V, const Output& O, bool causal, Score score) {
  return sampled_error(
      V, O, [&](index i) { return key_run{0, causal ? std::min(i + 1, V.rows()) : V.rows()}; },
      score);
}

/// scale · q_i k_j, in double.
template <class Queries, class Keys>
[[nodiscard]] auto dot_scores(const Queries& Q, const Keys& K) {
  return [&Q, &K, scale = 1 / std::sqrt(double(Q.cols()))](index i, index j) {
    return scale * Q.row(i).template cast<double>().dot(K.row(j).template cast<double>());
  };
}

/// What an error may be before a row fails: a wrong kernel is off by 1e-3 and more.
/// N(0, 1) values stay below 6, scores of either kind below 16; each loses a few ε relatively.
template <class T>
[[nodiscard]] constexpr double tolerance() {
  return 128 * double(std::numeric_limits<T>::epsilon());
}

}  // namespace bench
