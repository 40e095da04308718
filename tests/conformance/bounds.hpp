#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>

/// Worst-case errors of attention in a type with the given ε, for cases whose numbers were computed
/// in a wider one. They follow from the formulas, never from the code under test.
namespace conformance {

struct error_bounds {
  double scores = 0;
  double log_sum_exp = 0;
  double weights = 0;
  double output = 0;
};

/// A score is a sum of `steps` rounded terms of two inputs that were rounded themselves, a handful
/// of transforms follows; none exceeds `magnitude`.
inline double score_error(double epsilon, Eigen::Index steps, double magnitude) {
  return (static_cast<double>(steps) + 8) * epsilon * magnitude;
}

/// Scores off by δ put every weight off by a factor within e^{±2δ}; the exponentials and the sum
/// over the keys round besides.
inline double weight_error(double epsilon, Eigen::Index keys, double score_error) {
  return std::expm1(2 * score_error) + (static_cast<double>(keys) + 8) * epsilon;
}

inline error_bounds attention_error(double epsilon, Eigen::Index keys, double score_error,
                                    double score_magnitude, double value_magnitude) {
  error_bounds e;
  e.scores = score_error;
  e.weights = weight_error(epsilon, keys, score_error);
  e.output = e.weights * value_magnitude;
  e.log_sum_exp = score_error + (static_cast<double>(keys) + 8) * epsilon * (1 + score_magnitude);
  return e;
}

/// α-entmax of scores off by δ: the base (α − 1) z − τ of a weight moves by 2(α − 1)δ at most,
/// since τ lies between what it is for scores δ lower and δ higher; the power 1/(α − 1) has a slope
/// of at most that on [0, 1], or is a root, for which |x^β − y^β| ≤ |x − y|^β. Weights are rounded
/// once.
inline double entmax_error(double epsilon, double alpha, double score_error) {
  const double moved =
      alpha <= 2 ? 2 * score_error : std::pow(2 * (alpha - 1) * score_error, 1 / (alpha - 1));
  return moved + epsilon;
}

/// Attention with such weights; each of them may be off by as much.
inline error_bounds entmax_attention_error(double epsilon, double alpha, Eigen::Index keys,
                                           double score_error, double value_magnitude) {
  error_bounds e;
  e.scores = score_error;
  e.weights = entmax_error(epsilon, alpha, score_error);
  e.output = static_cast<double>(keys) * (e.weights + epsilon) * value_magnitude;
  return e;
}

/// A bound beyond this says nothing about weights, which lie in [0, 1].
inline bool says_something(const error_bounds& e) { return e.weights < 0.5; }

/// The worst of several calls.
inline error_bounds worst(const error_bounds& a, const error_bounds& b) {
  return {std::max(a.scores, b.scores), std::max(a.log_sum_exp, b.log_sum_exp),
          std::max(a.weights, b.weights), std::max(a.output, b.output)};
}

/// The error of x·W for an x that is off by `error`: each output sums |W| over a column.
template <class Matrix>
double projected_error(double error, const Matrix& W) {
  if (W.size() == 0) return 0;
  return error * W.cwiseAbs().colwise().sum().maxCoeff();
}

/// The largest bias among entries that can have a weight: an entry further below its row's largest
/// than the scores q·k can make up for has weight 0 in any precision, so its rounding is harmless.
template <class Matrix>
double live_bias_magnitude(const Matrix& B, double score_magnitude) {
  const double reach = 2 * score_magnitude - std::log(std::numeric_limits<float>::denorm_min());
  double largest = 0;
  for (Eigen::Index i = 0; i < B.rows(); ++i) {
    const double top = B.cols() > 0 ? static_cast<double>(B.row(i).maxCoeff()) : 0;
    for (Eigen::Index j = 0; j < B.cols(); ++j) {
      const double b = static_cast<double>(B(i, j));
      if (std::isfinite(b) && b >= top - reach) largest = std::max(largest, std::abs(b));
    }
  }
  return largest;
}

/// The largest magnitude of a finite entry.
template <class Matrix>
double finite_magnitude(const Matrix& X) {
  double largest = 0;
  for (Eigen::Index i = 0; i < X.rows(); ++i)
    for (Eigen::Index j = 0; j < X.cols(); ++j)
      if (std::isfinite(X(i, j)))
        largest = std::max(largest, std::abs(static_cast<double>(X(i, j))));
  return largest;
}

/// The largest |q|·|k| over all rows, by Cauchy's inequality a bound on every q·k and its terms.
template <class A, class B>
double dot_magnitude(const A& Q, const B& K) {
  const auto longest = [](const auto& X) {
    double norm = 0;
    for (Eigen::Index i = 0; i < X.rows(); ++i)
      norm = std::max(norm, X.row(i).template cast<double>().stableNorm());
    return norm;
  };
  return longest(Q) * longest(K);
}

// The errors of layers, from row to row: `error` and the results are bounds on the Euclidean norm
// of what a row is off by, which orthogonal maps keep and which no entry exceeds.

/// The error of a score q·k that changes the softmax over all k, where q and k are off by as much
/// as is given: what all scores of a query are off by alike does not, so q's error meets k as seen
/// from any point that is common to the keys, at a distance `from_centre`. Products and sums round,
/// terms of magnitude |q|·|k|.
inline double pair_error(double epsilon, double error_of_q, double from_centre, double length_of_q,
                         double error_of_k, Eigen::Index features, double magnitude) {
  return error_of_q * from_centre + (length_of_q + error_of_q) * error_of_k +
         (static_cast<double>(features) + 4) * epsilon / 2 * magnitude;
}

/// The error of o = Σ p_j v_j, p = softmax(s), where each s_j is off by δ_j, δ at most. The
/// derivative is Σ_j p_j ds_j (v_j − o), and on the way weights stay within a factor e^{2δ}, so o
/// moves by D at most with D ≤ e^{2δ}·Σ p_j δ_j |v_j − o| + δ·D; and values that are off by e_j add
/// e^{2δ}·Σ p_j e_j.
/// \param moved  Σ p_j (δ_j |v_j − o| + e_j), together with the rounding of exponentials and sums.
inline double mixture_error(double largest_score_error, double moved) {
  if (!(largest_score_error < 1)) return std::numeric_limits<double>::infinity();
  return std::exp(2 * largest_score_error) * moved / (1 - largest_score_error);
}

/// The error of a row x·W + b: W amplifies what x is off by, up to its largest singular value; the
/// weights, the products and the steps of the sum are rounded, each by half an ε of its terms,
/// whose magnitudes |x|·|W| + |b| form a row of length `magnitude`.
inline double product_error(double epsilon, double error, double largest_singular_value,
                            Eigen::Index steps, double magnitude) {
  return largest_singular_value * error +
         (static_cast<double>(steps) + 3) * epsilon / 2 * magnitude;
}

/// The error of gelu on a row of the given length: its slope is at most Φ(√2) + √2·φ(√2) < 1.13, at
/// x = √2; x·Φ(x) is a product of x with a factor in [0, 1] that is off by a few ε.
inline double gelu_error(double epsilon, double error, double length) {
  constexpr double steepest = 1.13;
  return steepest * error + 8 * epsilon * length;
}

/// A row x before its layer norm g·(x − mean)/σ + b.
struct norm_row {
  Eigen::Index features = 0;
  double magnitude = 0;  // the largest |x|
  double deviation = 0;  // σ = √(var + ε), ε that of the layer
  double gain = 0;       // the largest |g|
  double bias = 0;       // |b|
};

/// The error of a layer norm. x − mean is a projection, of norm 1, and c/√(|c|²/d + ε) has a
/// derivative of norm 1/σ at most, taken where σ is smallest between the two rows: small deviations
/// amplify. The mean rounds by d·ε/2·|x|, which moves all entries; the variance, a sum of d terms,
/// by about d·ε/2 of itself, and a handful of operations follow on (x − mean)/σ, whose length is at
/// most √d.
inline double norm_error(double epsilon, double error, const norm_row& x) {
  const auto d = static_cast<double>(x.features);
  const double before = error + std::sqrt(d) * d * epsilon / 2 * x.magnitude;
  const double smallest = x.deviation - before / std::sqrt(d);
  if (!(smallest > 0)) return std::numeric_limits<double>::infinity();
  return x.gain * (before / smallest + (d / 4 + 6) * epsilon * std::sqrt(d)) + epsilon * x.bias;
}

}  // namespace conformance
