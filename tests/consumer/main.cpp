// What a user's first program does, built in every way that a user may get softlook.
#include <Eigen/Dense>
#include <cmath>
#include <cstdio>
#include <cstring>

#include <softlook/softlook.hpp>

int main() {
  // Two orthogonal keys, one query that equals the first: weights e^(1/√2) : 1.
  const Eigen::MatrixXd K = Eigen::MatrixXd::Identity(2, 2);
  const Eigen::MatrixXd Q = K.row(0);
  const Eigen::MatrixXd V = Eigen::Vector2d(1, 0);
  const double got = softlook::attention(Q, K, V)(0, 0);
  const double expected = 1 / (1 + std::exp(-std::sqrt(0.5)));
#ifdef PACKAGE_VERSION
  char version[32];
  std::snprintf(version, sizeof version, "%d.%d.%d", SOFTLOOK_VERSION_MAJOR, SOFTLOOK_VERSION_MINOR,
                SOFTLOOK_VERSION_PATCH);
  if (std::strcmp(version, PACKAGE_VERSION) != 0) {
    std::printf("the package says version %s, its headers %s\n", PACKAGE_VERSION, version);
    return 1;
  }
#endif
  std::printf("attention gives %.9f, expected %.9f\n", got, expected);
  return std::abs(got - expected) < 1e-6 ? 0 : 1;
}
