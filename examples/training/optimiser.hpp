#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <sstream>
#include <string>
#include <type_traits>

#include "softlook/core/error.hpp"
#include "softlook/core/parameters.hpp"

// What changes weights by gradients. All of it takes any struct of weights that
// softlook::for_each_parameter can walk, so a model needs nothing but its own visit().

namespace examples {

/// \throws softlook::argument_error  with the value, unless `holds`.
inline void require(bool holds, const char* where, const char* name, double is, const char* rule) {
  if (holds) return;
  std::ostringstream text;
  text << where << ": " << name << " is " << is << " (" << rule << ')';
  throw softlook::argument_error(text.str());
}

/// \throws softlook::shape_error  unless each matrix of `other` is as large as that of the weights.
template <class P, class Q>
void require_same_shapes(const char* where, const char* other_name, const P& weights,
                         const Q& other) {
  softlook::for_each_parameter(
      [&](const std::string& name, const auto& w, const auto& o) {
        if (w.rows() == o.rows() && w.cols() == o.cols()) return;
        std::ostringstream text;
        text << where << ": " << other_name << '.' << name << " is " << o.rows() << 'x' << o.cols()
             << " but weights." << name << " is " << w.rows() << 'x' << w.cols();
        throw softlook::shape_error(text.str());
      },
      weights, other);
}

/// The learning rate of each step: grows in a line for `warmup` steps, then falls from `highest` to
/// `lowest` as half a wave of the cosine, and stays there.
///   rate(t) = highest · (t + 1) / warmup,                                      t < warmup
///   rate(t) = lowest + (highest − lowest) · (1 + cos(π·(t − warmup) / (steps − warmup))) / 2
/// \see Loshchilov and Hutter, "SGDR", 2017, Eq. (5); Goyal et al., "Accurate, Large Minibatch
/// SGD",
///      2017, section 2.2 (the warm-up).
struct cosine_schedule {
  double highest = 1e-3;
  double lowest = 0;
  std::int64_t warmup = 0;
  std::int64_t steps = 1;  ///< of the whole training

  /// \param step  counted from 0. \throws softlook::argument_error  if it or a setting is wrong.
  double operator()(std::int64_t step) const {
    const char* where = "cosine_schedule";
    require(std::isfinite(highest) && highest >= 0, where, "highest", highest,
            "a learning rate is finite and not negative");
    require(lowest >= 0 && lowest <= highest, where, "lowest", lowest,
            "it is not negative and at most the highest");
    require(warmup >= 0, where, "warmup", double(warmup), "a number of steps");
    require(steps >= 1, where, "steps", double(steps), "a training has at least 1 step");
    require(step >= 0, where, "step", double(step), "steps are counted from 0");
    if (step < warmup) return highest * double(step + 1) / double(warmup);
    if (step >= steps) return lowest;
    const double along = double(step - warmup) / double(steps - warmup);
    return lowest + (highest - lowest) * (1 + std::cos(std::numbers::pi * along)) / 2;
  }
};

/// The length of all gradients as one vector, √(Σ g²), added up in double.
template <class P>
[[nodiscard]] double global_norm(const P& gradients) {
  double sum = 0;
  softlook::for_each_parameter(
      [&](const std::string&, const auto& g) {
        for (Eigen::Index k = 0; k < g.size(); ++k)
          sum += double(g.data()[k]) * double(g.data()[k]);
      },
      gradients);
  return std::sqrt(sum);
}

/// Gradients longer than `most` are shortened to it, in their direction:  g ← g · most / ‖g‖.
/// \return  their length before.
/// \see Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", 2013,
///      Alg. 1.
/// \throws softlook::argument_error  if `most` is not positive, or the length is not finite (the
///         training has diverged); the gradients are then as they were.
template <class P>
double clip_by_global_norm(P& gradients, double most) {
  const char* where = "clip_by_global_norm";
  require(most > 0, where, "most", most, "a length that is positive");
  const double norm = global_norm(gradients);
  require(std::isfinite(norm), where, "the length of the gradients", norm,
          "it is finite unless training has diverged");
  if (norm <= most) return norm;
  softlook::for_each_parameter(
      [&](const std::string&, auto& g) {
        g *= static_cast<typename std::remove_cvref_t<decltype(g)>::Scalar>(most / norm);
      },
      gradients);
  return norm;
}

struct adamw_options {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;  ///< λ
  bool decay_vectors = false;  ///< also of matrices of one row or column: biases, norms
};

/// Adam whose weight decay is not a part of the gradient:
///   m ← β₁·m + (1 − β₁)·g        v ← β₂·v + (1 − β₂)·g²
///   w ← w − η·( m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε) + λ·w )
/// with the learning rate η of a step, which also scales the decay.
/// \see Kingma and Ba, "Adam", 2015, Alg. 1; Loshchilov and Hutter, "Decoupled Weight Decay
///      Regularization", 2019, Alg. 2.
template <softlook::parameter_struct P>
class adamw {
 public:
  /// \throws softlook::argument_error  unless the options are in their ranges.
  explicit adamw(const P& weights, adamw_options options = {})
      : options_(options),
        first_(softlook::zeros_like(weights)),
        second_(softlook::zeros_like(weights)) {
    const char* where = "adamw";
    require(options.beta1 >= 0 && options.beta1 < 1, where, "beta1", options.beta1,
            "at least 0 and below 1");
    require(options.beta2 >= 0 && options.beta2 < 1, where, "beta2", options.beta2,
            "at least 0 and below 1");
    require(options.epsilon > 0, where, "epsilon", options.epsilon, "it is positive");
    require(std::isfinite(options.weight_decay) && options.weight_decay >= 0, where, "weight_decay",
            options.weight_decay, "it is finite and not negative");
  }

  /// One step with learning rate `rate`.
  /// \throws softlook::shape_error, softlook::argument_error  before anything is changed.
  void step(P& weights, const P& gradients, double rate) {
    const char* where = "adamw::step";
    require(std::isfinite(rate) && rate >= 0, where, "rate", rate, "it is finite, not negative");
    require_same_shapes(where, "moments", weights, first_);
    require_same_shapes(where, "gradients", weights, gradients);
    ++steps_;
    const double of_first = 1 - std::pow(options_.beta1, double(steps_));
    const double of_second = 1 - std::pow(options_.beta2, double(steps_));
    softlook::for_each_parameter(
        [&](const std::string&, auto& w, const auto& g, auto& m, auto& v) {
          using T = typename std::remove_cvref_t<decltype(w)>::Scalar;
          const T b1 = T(options_.beta1), b2 = T(options_.beta2);
          m.array() = b1 * m.array() + (1 - b1) * g.array();
          v.array() = b2 * v.array() + (1 - b2) * g.array().square();
          const bool decays = options_.decay_vectors || (w.rows() > 1 && w.cols() > 1);
          if (decays) w *= T(1 - rate * options_.weight_decay);
          w.array() -= T(rate / of_first) * m.array() /
                       ((v.array() / T(of_second)).sqrt() + T(options_.epsilon));
        },
        weights, gradients, first_, second_);
  }

  // What a checkpoint holds.
  [[nodiscard]] const P& first_moments() const { return first_; }
  [[nodiscard]] const P& second_moments() const { return second_; }
  [[nodiscard]] std::int64_t steps() const { return steps_; }

  /// Goes on where another one stopped.
  /// \throws softlook::shape_error, softlook::argument_error  before anything is changed.
  void resume(const P& first, const P& second, std::int64_t steps) {
    const char* where = "adamw::resume";
    require_same_shapes(where, "first", first_, first);
    require_same_shapes(where, "second", second_, second);
    require(steps >= 0, where, "steps", double(steps), "a number of steps");
    P other_first = first, other_second = second;
    first_ = std::move(other_first);
    second_ = std::move(other_second);
    steps_ = steps;
  }

 private:
  adamw_options options_;
  P first_, second_;
  std::int64_t steps_ = 0;
};

}  // namespace examples
