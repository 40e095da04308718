#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <sstream>
#include <type_traits>

#include "examples/training/optimiser.hpp"

namespace examples {

struct cross_entropy_options {
  double smoothing = 0;       ///< ε: the share of the target that all classes divide evenly
  std::int32_t ignored = -1;  ///< rows with this label count for nothing
};

struct cross_entropy_result {
  double loss = 0;           ///< the mean over the rows that count; 0 where none does
  Eigen::Index counted = 0;  ///< rows that count
  Eigen::Index correct = 0;  ///< of these, how many have their largest logit at the label
};

/// What a training minimises: how unlikely the labels y are under the softmax of rows of logits s,
///   L = −1/N · Σ_i Σ_c q_ic · log softmax(s_i)_c,    q_ic = (1 − ε)·[c = y_i] + ε/C
/// and its gradient in the logits, (softmax(s_i) − q_i) / N, a row of zeros where a row is ignored.
/// \see Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7 (smoothing).
/// logits: n×C, labels: n. `gradient` may be null; otherwise it becomes n×C.
/// A row with NaN, with +∞ or with nothing above −∞ gives NaN.
/// \throws softlook::shape_error     unless each row has a label;
///         softlook::argument_error  for a label that is no class, or ε outside [0, 1).
template <class Logits>
cross_entropy_result cross_entropy(const Logits& logits, std::span<const std::int32_t> labels,
                                   Eigen::Matrix<typename Logits::Scalar, Eigen::Dynamic,
                                                 Eigen::Dynamic, Eigen::RowMajor>* gradient,
                                   const cross_entropy_options& options = {}) {
  using T = typename Logits::Scalar;
  const char* where = "cross_entropy";
  const Eigen::Index n = logits.rows(), classes = logits.cols();
  if (static_cast<Eigen::Index>(labels.size()) != n) {
    std::ostringstream text;
    text << where << ": labels.size() is " << labels.size() << " but logits.rows() is " << n
         << " (each row has a label)";
    throw softlook::shape_error(text.str());
  }
  const double smoothing = options.smoothing;
  require(smoothing >= 0 && smoothing < 1, where, "smoothing", smoothing, "at least 0 and below 1");
  cross_entropy_result result;
  for (const std::int32_t label : labels) {
    if (label == options.ignored) continue;
    require(label >= 0 && label < classes, where, "a label", label,
            "it is the number of a column of the logits, or the ignored label");
    ++result.counted;
  }

  if (gradient) gradient->resize(n, classes);
  Eigen::Array<T, 1, Eigen::Dynamic> shifted(classes), p(classes);
  const double even = smoothing / double(classes);
  for (Eigen::Index i = 0; i < n; ++i) {
    const std::int32_t label = labels[static_cast<std::size_t>(i)];
    if (label == options.ignored) {
      if (gradient) gradient->row(i).setZero();
      continue;
    }
    Eigen::Index largest = 0;
    const T most = logits.row(i).maxCoeff(&largest);
    if (largest == label) ++result.correct;
    shifted = logits.row(i).array() - most;
    p = shifted.exp();
    const T sum = p.sum();
    result.loss += std::log(double(sum)) - (1 - smoothing) * double(shifted(label));
    if (smoothing > 0) result.loss -= even * double(shifted.sum());
    if (!gradient) continue;
    auto row = gradient->row(i).array();
    row = p / sum - T(even);
    row(label) -= T(1 - smoothing);
    row /= T(result.counted);
  }
  if (result.counted > 0) result.loss /= double(result.counted);
  return result;
}

/// The loss alone.
template <class Logits>
cross_entropy_result cross_entropy(const Logits& logits, std::span<const std::int32_t> labels,
                                   const cross_entropy_options& options = {}) {
  return cross_entropy(logits, labels, nullptr, options);
}

}  // namespace examples
