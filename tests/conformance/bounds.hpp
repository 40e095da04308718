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

}  // namespace conformance
