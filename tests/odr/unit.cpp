// Compiled once per instruction set that a unit may assume; UNIT names the copy.
#include <Eigen/Core>

#include "softlook/softlook.hpp"

#define JOIN_EXPANDED(a, b) a##b
#define JOIN(a, b) JOIN_EXPANDED(a, b)

double JOIN(first_output_, UNIT)() {
  using namespace softlook;
  const Eigen::MatrixXd Q = Eigen::MatrixXd::Constant(5, 4, 0.5);
  const Eigen::MatrixXd K = Eigen::MatrixXd::Constant(7, 4, 0.25);
  const Eigen::MatrixXd V = Eigen::VectorXd::LinSpaced(7, 0, 6) * Eigen::RowVectorXd::Ones(3);
  const Eigen::VectorXd v = Eigen::VectorXd::Ones(4);
  exec::thread_pool pool(2);
  // Equal keys: the first query sees the mean of the values 0 and 1, however the call is made.
  const masks::causal mask{.offset = 1};
  const auto plain = attention(Q, K, V, mask, transforms::soft_cap{30.0}, pool);
  const auto naive = naive_attention(Q, K, V, mask).output;
  const auto additive = attention(Q, K, V, mask, scores::additive_projected{v});
  const auto heads = attention(Q, K, V.leftCols(2), softlook::heads{.query = 2}, mask);
  return (plain(0, 0) + naive(0, 0) + additive(0, 0) + heads(0, 0)) / 4;
}
