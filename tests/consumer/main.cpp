// What a user's first program does, built in every way that a user may get softlook.
#include <Eigen/Dense>
#include <cmath>
#include <cstdio>

#include <softlook/softlook.hpp>

int main() {
  // Two orthogonal keys, one query that equals the first: weights e^(1/√2) : 1.
  const Eigen::MatrixXd K = Eigen::MatrixXd::Identity(2, 2);
  const Eigen::MatrixXd Q = K.row(0);
  const Eigen::MatrixXd V = Eigen::Vector2d(1, 0);
  const double got = softlook::attention(Q, K, V)(0, 0);
  const double expected = 1 / (1 + std::exp(-std::sqrt(0.5)));
  std::printf("attention gives %.9f, expected %.9f\n", got, expected);
  return std::abs(got - expected) < 1e-6 ? 0 : 1;
}
