// Inputs of the tests: our own generator, because Eigen's sequence changes between versions.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <numbers>

namespace softlook_test {

/// splitmix64: every seed gives a good sequence, the state is one word.
class generator {
 public:
  explicit generator(std::uint64_t seed) : state_(seed) {}

  std::uint64_t bits() {
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  double uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(bits() >> 11) * 0x1.0p-53;
  }

  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(uniform(0x1.0p-60, 1.0)));
    return radius * std::cos(2.0 * std::numbers::pi * uniform(0.0, 1.0));
  }

  Eigen::Index integer(Eigen::Index low, Eigen::Index high) {
    const auto span = static_cast<std::uint64_t>(high - low + 1);
    return low + static_cast<Eigen::Index>(bits() % span);
  }

  bool chance(double probability) { return uniform(0.0, 1.0) < probability; }

  template <class Value>
  Value one_of(std::initializer_list<Value> values) {
    const auto last = static_cast<Eigen::Index>(values.size()) - 1;
    return *(values.begin() + integer(0, last));
  }

 private:
  std::uint64_t state_;
};

inline generator seed(std::uint64_t value) { return generator(value); }

template <class Scalar>
using row_major = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class Scalar>
using col_major = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;
template <class Scalar>
using column = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

template <class Matrix>
Matrix random_matrix(Eigen::Index rows, Eigen::Index cols, generator& random,
                     double magnitude = 1.0) {
  Matrix result(rows, cols);
  // Row by row whatever the storage, so that both hold the same matrix.
  typename Matrix::Scalar* const data = result.data();
  const Eigen::Index down = result.rowStride(), along = result.colStride();
  for (Eigen::Index i = 0; i < rows; ++i)
    for (Eigen::Index j = 0; j < cols; ++j)
      data[i * down + j * along] =
          static_cast<typename Matrix::Scalar>(magnitude * random.normal());
  return result;
}

/// Magnitudes are standard deviations; the default makes scores of order one at the default scale.
struct problem_sizes {
  Eigen::Index queries = 1;
  Eigen::Index keys = 1;
  Eigen::Index features = 1;
  Eigen::Index values = 1;
  double magnitude = 1.0;
};

template <class Scalar, class Matrix = row_major<Scalar>>
struct problem_inputs {
  Matrix Q, K, V;
};

template <class Scalar, class Matrix = row_major<Scalar>>
problem_inputs<Scalar, Matrix> random_problem(const problem_sizes& sizes, generator random) {
  problem_inputs<Scalar, Matrix> inputs;
  inputs.Q = random_matrix<Matrix>(sizes.queries, sizes.features, random, sizes.magnitude);
  inputs.K = random_matrix<Matrix>(sizes.keys, sizes.features, random, sizes.magnitude);
  inputs.V = random_matrix<Matrix>(sizes.keys, sizes.values, random);
  return inputs;
}

}  // namespace softlook_test
