#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>

#include "softlook/core/parameters.hpp"

namespace examples {

/// Random numbers whose whole state is one word (splitmix64), so that a checkpoint can hold it. The
/// distributions are ours: those of the standard library differ between implementations.
/// \see Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
class generator {
 public:
  explicit generator(std::uint64_t seed) : state_(seed) {}

  /// generator(state()) goes on where this one is.
  std::uint64_t state() const { return state_; }

  std::uint64_t bits() {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
  }

  /// In [0, 1), of 53 random bits.
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }

  /// 0, …, count − 1; count is at least 1. The remainder favours small numbers by count / 2⁶⁴.
  std::int64_t below(std::int64_t count) {
    return static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(count));
  }

  /// Of mean 0 and variance 1 (Box and Muller).
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  std::uint64_t state_;
};

/// Entries of a matrix uniform between ±√(6 / (rows + cols)), which keeps the size of what goes
/// through it both ways.
/// \see Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
///      networks", 2010, Eq. (16).
template <class Matrix>
void fill_glorot(Matrix& W, generator& random) {
  const double most = std::sqrt(6.0 / static_cast<double>(W.rows() + W.cols()));
  for (Eigen::Index i = 0; i < W.rows(); ++i)
    for (Eigen::Index j = 0; j < W.cols(); ++j)
      W(i, j) = static_cast<typename Matrix::Scalar>(random.uniform(-most, most));
}

/// Entries normal with this deviation.
template <class Matrix>
void fill_normal(Matrix& W, double deviation, generator& random) {
  for (Eigen::Index i = 0; i < W.rows(); ++i)
    for (Eigen::Index j = 0; j < W.cols(); ++j)
      W(i, j) = static_cast<typename Matrix::Scalar>(deviation * random.normal());
}

}  // namespace examples
