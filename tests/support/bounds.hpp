// Named error bounds, as functions of ε and sizes. No test carries a bare decimal.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace softlook_test {

template <class Scalar>
constexpr double epsilon_of() {
  return static_cast<double>(std::numeric_limits<Scalar>::epsilon());
}

/// What a comparison may add to twice the error of the naive path: a case of few keys can be exact
/// there by luck. `score_magnitude` is the largest |score|, because a relative error ε of a score s
/// is an error |s|·ε of its weight.
template <class Scalar>
double rounding_of(double score_magnitude, double value_magnitude) {
  constexpr double steps = 6;
  return steps * epsilon_of<Scalar>() * (1 + score_magnitude) * value_magnitude;
}

/// A sum of `terms` products in any order: Higham, "Accuracy and Stability", 2002, Eq. (3.5),
/// halved because the unit roundoff is ε/2, doubled for the rounding of the inputs themselves.
template <class Scalar>
double dot_product_bound(double terms, double magnitude) {
  return (terms + 2) * epsilon_of<Scalar>() * magnitude;
}

/// One attention computed at all, by any kernel: weights are off by the error of their scores, the
/// sum over values by its length (pairwise in practice, hence the root).
template <class Scalar>
double attention_bound(double keys, double features, double score_magnitude,
                       double value_magnitude) {
  const double of_scores = dot_product_bound<Scalar>(std::sqrt(features), 1 + score_magnitude);
  const double of_sum = 4 * (2 + std::sqrt(keys)) * epsilon_of<Scalar>();
  return (2 * of_scores + of_sum) * value_magnitude;
}

/// Log-sum-exp: m + log l, with m off like a score and l relatively off like a weight; l is added
/// up tile by tile, a chain of `additions` roundings that mostly cancel.
template <class Scalar>
double log_sum_exp_rounding(double score_magnitude, double additions = 0) {
  constexpr double steps = 6;
  return epsilon_of<Scalar>() * (steps * (1 + score_magnitude) + std::sqrt(additions));
}

/// Sum of the weights of one row.
template <class Scalar>
double unit_sum_bound(double keys) {
  return (4 + std::sqrt(keys)) * epsilon_of<Scalar>();
}

/// tanh by exponentials: what score/additive.hpp promises per pair, before the sum over units.
template <class Scalar>
double additive_score_bound(double units, double sum_of_weights) {
  return (8 + std::sqrt(units)) * epsilon_of<Scalar>() * sum_of_weights;
}

/// A number of X·W + b: `sum` is the largest Σ|x||w| + |b|. Rounding errors of a sum in a fixed
/// order mostly cancel, hence the root (Higham and Mary, 2019).
template <class Scalar>
double linear_bound(double inputs, double sum) {
  return (4 + std::sqrt(inputs)) * epsilon_of<Scalar>() * sum;
}

/// Of an activation's value; no activation here is steeper than this.
inline constexpr double steepest_activation = 1.13;

/// Relative error that engine/stamped/layers/activation.inl states for gelu(x).
template <class Scalar>
double gelu_bound(double x) {
  const bool single = sizeof(Scalar) == sizeof(float);
  if (x < 0) return (single ? 4e-7 : 1e-15) * (1 + x * x);
  return single ? 3e-7 : 6e-16;
}

/// Relative error of gelu_tanh(x): e^{−2u} carries the rounding of 2u, a few ε of its size, and
/// counts only as far as it is not small beside 1.
template <class Scalar>
double gelu_tanh_bound(double x) {
  constexpr double steps = 3;
  const double size = std::fabs(x);
  const double twice_u = 1.6 * size * (1 + 0.045 * size * size);
  return steps * epsilon_of<Scalar>() * (x < 0 ? 1 + twice_u : 1);
}

/// Relative error that engine/stamped/layers/activation.inl states for silu(x).
template <class Scalar>
double silu_bound(double) {
  return sizeof(Scalar) == sizeof(float) ? 6e-7 : 1.2e-15;
}

/// Activations of large negative numbers become 0 a little before the truth leaves the type.
template <class Scalar>
double activation_floor() {
  constexpr double earlier = sizeof(Scalar) == sizeof(float) ? 0x1p10 : 0x1p26;
  return earlier * static_cast<double>(std::numeric_limits<Scalar>::min());
}

/// Layer normalisation of a row whose entries are below `size`: the error of the mean against the
/// deviation √(var + ε), and that of a normalised number, which is at most √features.
template <class Scalar>
double layer_norm_bound(double features, double size, double deviation, double gain, double bias) {
  const double root = std::sqrt(features);
  const double of_mean = (4 + root) * size / deviation;
  return epsilon_of<Scalar>() * (gain * (of_mean + (4 + root) * root) + bias);
}

/// RMS normalisation of a row: the root of a sum of squares, and a product with the gain; a
/// normalised number is at most √features.
template <class Scalar>
double rms_norm_bound(double features, double gain) {
  const double root = std::sqrt(features);
  return epsilon_of<Scalar>() * gain * (4 + root) * root;
}

/// A multi-head layer: `terms` is the sum of the lengths of all sums on the way, `magnitude` the
/// largest Σ|value||Wo| + |bo|.
template <class Scalar>
double multi_head_layer_bound(double terms, double score_magnitude, double magnitude) {
  return (8 + terms) * epsilon_of<Scalar>() * (1 + score_magnitude) * magnitude;
}

}  // namespace softlook_test
