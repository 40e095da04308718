#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>

#include "softlook/core/error.hpp"
#include "softlook/core/types.hpp"
#include "softlook/position/detail/rotation.hpp"

// How fast the pairs of rotary encodings turn, and how that is stretched for texts longer than
// those of the training.

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup positional
/// \{

/// Positions divided by a factor.
/// \see Chen et al., "Extending Context Window of Large Language Models via Positional
///      Interpolation", 2023, Eq. (4).
struct linear_scaling {
  double factor = 1;
};

/// A larger base, which keeps the fastest pair and divides the slowest by the factor:
///   θ ← θ·factor^(w/(w−2))
/// \see Peng et al., "YaRN", 2023, section 3.1 (NTK-aware interpolation).
struct ntk_scaling {
  double factor = 1;
};

/// A base that grows with the length L of the text beyond L₀ trained positions:
///   θ ← θ·(factor·L/L₀ − factor + 1)^(w/(w−2))
/// \see Peng et al., "YaRN", 2023, section 3.3 (dynamic NTK); the exponent of Hugging Face's
///      rope_type "dynamic".
struct dynamic_ntk_scaling {
  double factor = 1;
  index trained_positions = 2048;
  index length = 0;
};

/// Slow frequencies (wavelength > L₀/low) are divided by the factor, fast ones (< L₀/high) are
/// kept, those between are blended linearly in L₀/wavelength.
/// \see Grattafiori et al., "The Llama 3 Herd of Models", 2024, and the published code of
///      Llama 3.1.
struct llama3_scaling {
  double factor = 8;
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;
  index trained_positions = 8192;
};

/// YaRN: frequencies that turn at least `fast_turns` times within L₀ positions are kept, those that
/// turn at most `slow_turns` times are divided by the factor, and between the two pairs
///   c(r) = w·ln(L₀/(2π·r)) / (2·ln θ),  r = fast_turns and slow_turns,
/// they are blended linearly; `whole_pairs` rounds the first down and the second up.
/// \see Peng et al., "YaRN: Efficient Context Window Extension of Large Language Models", 2023,
///      section 3.2; the rounding is that of the authors' code and of Hugging Face's.
struct yarn_scaling {
  double factor = 1;
  double fast_turns = 32;
  double slow_turns = 1;
  index trained_positions = 2048;
  bool whole_pairs = true;

  /// What cos and sin are multiplied with (rotary_options::magnitude), section 3.4:
  ///   0.1·weight·ln(factor) + 1
  [[nodiscard]] double magnitude(double weight = 1) const {
    return factor > 1 ? 0.1 * weight * std::log(factor) + 1 : 1;
  }
  /// The quotient of two, where weights are called mscale and mscale_all_dim (DeepSeek-V2).
  [[nodiscard]] double magnitude(double weight, double weight_of_all) const {
    return magnitude(weight) / magnitude(weight_of_all);
  }
};

/// LongRoPE: each pair divided by a factor of its own, found by search; other ones for texts of a
/// length L that goes beyond L₀ trained positions:
///   f_k ← f_k / λ_k,  λ = long_factors where L > L₀, else short_factors
/// Views of w/2 factors each.
/// \see Ding et al., "LongRoPE: Extending LLM Context Window Beyond 2 Million Tokens", 2024, Eq.
/// (3)
///      and section 3.3 (the short ones).
struct longrope_scaling {
  std::span<const double> short_factors{};
  std::span<const double> long_factors{};
  index trained_positions = 4096;
  index length = 0;
  double factor = 1;  ///< longest text, divided by L₀

  /// What cos and sin are multiplied with (rotary_options::magnitude):
  ///   √(1 + ln(factor) / ln(L₀))
  /// \see Abdin et al., "Phi-3 Technical Report", 2024, and its published code.
  [[nodiscard]] double magnitude() const {
    return factor > 1 && trained_positions > 1
               ? std::sqrt(1 + std::log(factor) / std::log(double(trained_positions)))
               : 1;
  }
};

/// RoPE's angles for a step of one position, for a rotary width w:
///   f_k = θ^(−2k/w),  k < w/2
/// \see Su et al., "RoFormer", 2021, Eq. (15).
/// \throws argument_error  unless w is even and at least 0 and θ is positive and finite.
[[nodiscard]] inline Eigen::VectorXd rotary_frequencies(index width, double theta = 10000) {
  const char* where = "rotary_frequencies";
  if (width < 0 || width % 2 != 0)
    detail::raise_argument(where, "width", double(width), "features turn in pairs");
  detail::check_positive(where, "theta", theta);
  Eigen::VectorXd frequencies(width / 2);
  for (index k = 0; k < frequencies.size(); ++k)
    frequencies[k] = std::pow(theta, -double(2 * k) / double(width));
  return frequencies;
}

/// \throws argument_error  unless every factor is positive and finite.
[[nodiscard]] inline Eigen::VectorXd rotary_frequencies(index width, double theta,
                                                        const linear_scaling& scaling) {
  detail::check_positive("rotary_frequencies", "linear_scaling.factor", scaling.factor);
  Eigen::VectorXd frequencies = rotary_frequencies(width, theta);
  for (index k = 0; k < frequencies.size(); ++k) frequencies[k] /= scaling.factor;
  return frequencies;
}

[[nodiscard]] inline Eigen::VectorXd rotary_frequencies(index width, double theta,
                                                        const ntk_scaling& scaling) {
  detail::check_positive("rotary_frequencies", "ntk_scaling.factor", scaling.factor);
  // With one pair the only frequency is 1, whatever the base.
  if (width <= 2) return rotary_frequencies(width, theta);
  return rotary_frequencies(width,
                            theta * std::pow(scaling.factor, double(width) / double(width - 2)));
}

[[nodiscard]] inline Eigen::VectorXd rotary_frequencies(index width, double theta,
                                                        const dynamic_ntk_scaling& scaling) {
  const char* where = "rotary_frequencies";
  detail::check_positive(where, "dynamic_ntk_scaling.factor", scaling.factor);
  detail::check_positive(where, "dynamic_ntk_scaling.trained_positions",
                         double(scaling.trained_positions));
  // With one pair the only frequency is 1, whatever the base.
  if (scaling.length <= scaling.trained_positions || width <= 2)
    return rotary_frequencies(width, theta);
  const double longer = double(scaling.length) / double(scaling.trained_positions);
  const double growth = scaling.factor * longer - (scaling.factor - 1);
  return rotary_frequencies(width, theta * std::pow(growth, double(width) / double(width - 2)));
}

[[nodiscard]] inline Eigen::VectorXd rotary_frequencies(index width, double theta,
                                                        const llama3_scaling& scaling) {
  const char* where = "rotary_frequencies";
  const double low = scaling.low_frequency_factor, high = scaling.high_frequency_factor;
  detail::check_positive(where, "llama3_scaling.factor", scaling.factor);
  detail::check_positive(where, "llama3_scaling.low_frequency_factor", low);
  detail::check_positive(where, "llama3_scaling.trained_positions",
                         double(scaling.trained_positions));
  if (!(high > low) || !std::isfinite(high))
    detail::raise_argument(where, "llama3_scaling.high_frequency_factor", high,
                           "it is finite and larger than low_frequency_factor");
  Eigen::VectorXd frequencies = rotary_frequencies(width, theta);
  for (double& f : frequencies) {
    const double turns = double(scaling.trained_positions) * f / (2 * std::numbers::pi);
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    f = (1 - kept) * f / scaling.factor + kept * f;
  }
  return frequencies;
}

[[nodiscard]] inline Eigen::VectorXd rotary_frequencies(index width, double theta,
                                                        const yarn_scaling& scaling) {
  const char* where = "rotary_frequencies";
  detail::check_positive(where, "yarn_scaling.factor", scaling.factor);
  detail::check_positive(where, "yarn_scaling.slow_turns", scaling.slow_turns);
  detail::check_positive(where, "yarn_scaling.trained_positions",
                         double(scaling.trained_positions));
  if (!(scaling.fast_turns >= scaling.slow_turns) || !std::isfinite(scaling.fast_turns))
    detail::raise_argument(where, "yarn_scaling.fast_turns", scaling.fast_turns,
                           "it is finite and at least slow_turns");
  if (!(theta > 1))
    detail::raise_argument(where, "theta", theta, "YaRN takes logarithms to this base: above 1");
  Eigen::VectorXd frequencies = rotary_frequencies(width, theta);
  const auto pair_of = [&](double turns) {
    const double wavelengths = double(scaling.trained_positions) / (2 * std::numbers::pi * turns);
    return double(width) * std::log(wavelengths) / (2 * std::log(theta));
  };
  double first = pair_of(scaling.fast_turns), last = pair_of(scaling.slow_turns);
  if (scaling.whole_pairs) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, double(width - 1));
  constexpr double least_distance = 1e-3;  // of the two pairs, as in the authors' code
  if (first == last) last += least_distance;
  for (index k = 0; k < frequencies.size(); ++k) {
    const double divided = std::clamp((double(k) - first) / (last - first), 0.0, 1.0);
    frequencies[k] = divided * frequencies[k] / scaling.factor + (1 - divided) * frequencies[k];
  }
  return frequencies;
}

/// \throws argument_error  unless every factor is positive and finite; shape_error unless each list
/// has one for each pair.
[[nodiscard]] inline Eigen::VectorXd rotary_frequencies(index width, double theta,
                                                        const longrope_scaling& scaling) {
  const char* where = "rotary_frequencies";
  detail::check_positive(where, "longrope_scaling.trained_positions",
                         double(scaling.trained_positions));
  Eigen::VectorXd frequencies = rotary_frequencies(width, theta);
  const auto check = [&](const char* size, const char* name, std::span<const double> factors) {
    detail::check_sizes(where, size, static_cast<long long>(factors.size()), "width / 2",
                        frequencies.size(), "there is a factor for each pair");
    for (const double factor : factors) detail::check_positive(where, name, factor);
  };
  check("longrope_scaling.short_factors.size()", "longrope_scaling.short_factors",
        scaling.short_factors);
  check("longrope_scaling.long_factors.size()", "longrope_scaling.long_factors",
        scaling.long_factors);
  const bool beyond = scaling.length > scaling.trained_positions;
  const std::span<const double> factors = beyond ? scaling.long_factors : scaling.short_factors;
  for (index k = 0; k < frequencies.size(); ++k) frequencies[k] /= factors[std::size_t(k)];
  return frequencies;
}

/// \}

SOFTLOOK_NAMESPACE_END
