#include "softlook/gradient/linformer.hpp"

#include <array>

#include "softlook/exec/thread_pool.hpp"
#include "softlook/gradient/location.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/transform/transforms.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::linformer_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;

TEST(LinformerGradient, IsThatOfDifferences) {
  generator random = seed(17301);
  const heads h{.query = 2, .kv = 1};
  matrix Q = random_matrix<matrix>(5, 6, random), K = random_matrix<matrix>(9, 3, random);
  matrix V = random_matrix<matrix>(9, 4, random), E = random_matrix<matrix>(4, 9, random);
  matrix F = random_matrix<matrix>(4, 9, random);
  const matrix dO = random_matrix<matrix>(5, 8, random);
  const auto check = [&](const auto&... policies) {
    const auto g = linformer_attention_backward(Q, K, V, E, F, dO, h, policies...);
    const auto loss = [&] {
      return inner_product(dO, linformer_attention(Q, K, V, E, F, h, policies...));
    };
    expect_gradient("Q", Q, g.dQ, loss);
    expect_gradient("K", K, g.dK, loss);
    expect_gradient("V", V, g.dV, loss);
    expect_gradient("E", E, g.dE, loss);
    expect_gradient("F", F, g.dF, loss);
  };
  check();
  check(scores::dot{}, transforms::soft_cap{1.5}, options{.scale = 0.3});
}

TEST(LinformerGradient, DoesNotDependOnThreadsOrStorage) {
  generator random = seed(17302);
  const matrix Q = random_matrix<matrix>(90, 8, random), K = random_matrix<matrix>(80, 8, random);
  const matrix V = random_matrix<matrix>(80, 5, random), E = random_matrix<matrix>(16, 80, random);
  const matrix dO = random_matrix<matrix>(90, 5, random);
  const auto one = linformer_attention_backward(Q, K, V, E, E, dO);
  const exec::thread_pool pool(3);
  const col_major<double> q = Q, k = K, v = V, e = E;
  const auto three = linformer_attention_backward(q, k, v, e, e, dO, pool);
  EXPECT_EQ(one.dQ, three.dQ);
  EXPECT_EQ(one.dK, three.dK);
  EXPECT_EQ(one.dE, three.dE);
  EXPECT_EQ(one.dF, three.dF);
}

TEST(LinformerGradient, OfNothingIsNothing) {
  for (const auto& [n, m, k] : {std::array<index, 3>{0, 5, 2}, {4, 0, 2}, {4, 5, 0}}) {
    const matrix Q = matrix::Ones(n, 3), K = matrix::Ones(m, 3), E = matrix::Ones(k, m);
    const auto g = linformer_attention_backward(Q, K, K, E, E, matrix::Ones(n, 3).eval());
    EXPECT_EQ(g.dQ, matrix::Zero(n, 3));
    EXPECT_TRUE(g.dK.allFinite());
    EXPECT_EQ(g.dK.rows(), m);
    EXPECT_EQ(g.dE.rows(), k);
    EXPECT_EQ(g.dE.cols(), m);
    EXPECT_TRUE(g.dE.allFinite());
  }
}

TEST(LinformerGradient, RefusesWhatDoesNotFit) {
  const matrix X = matrix::Ones(4, 3), E = matrix::Ones(2, 4);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)linformer_attention_backward(X, X, X, E, matrix::Ones(3, 4), X);
            }).find("linformer_attention_backward: F.rows() is 3"),
            std::string::npos);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)linformer_attention_backward(X, X, X, E, E, E);
            }).find("dO.rows() is 2"),
            std::string::npos);
}

TEST(LocationGradient, IsThatOfDifferences) {
  generator random = seed(17303);
  const heads h{.query = 2, .kv = 1};
  matrix Q = random_matrix<matrix>(5, 6, random), W = random_matrix<matrix>(3, 9, random);
  matrix V = random_matrix<matrix>(7, 4, random);
  const matrix dO = random_matrix<matrix>(5, 8, random);
  const auto check = [&](const auto&... policies) {
    const auto g = location_attention_backward(Q, W, V, dO, h, policies...);
    const auto loss = [&] {
      return inner_product(dO, location_attention(Q, W, V, h, policies...));
    };
    expect_gradient("Q", Q, g.dQ, loss);
    expect_gradient("W", W, g.dW, loss);
    expect_gradient("V", V, g.dV, loss);
    EXPECT_EQ(g.dW.rightCols(2), matrix::Zero(3, 2));
  };
  check();
  check(masks::causal_bottom_right{}, transforms::alibi{0.2}, options{.scale = 0.3});
  EXPECT_NE(message_of<shape_error>([&] {
              (void)location_attention_backward(Q, W, matrix::Ones(10, 4), dO, h);
            }).find("location_attention_backward: W.cols() is 9 but V.rows() is 10"),
            std::string::npos);
}

}  // namespace
}  // namespace softlook::linformer_test
