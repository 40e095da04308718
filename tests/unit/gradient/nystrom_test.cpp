#include "softlook/gradient/nystrom.hpp"

#include <utility>

#include "softlook/exec/thread_pool.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::nystrom_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;

TEST(NystromGradient, IsThatOfDifferences) {
  generator random = seed(17201);
  const heads h{.query = 2, .kv = 1};
  matrix Q = random_matrix<matrix>(7, 6, random), K = random_matrix<matrix>(9, 3, random);
  matrix V = random_matrix<matrix>(9, 4, random);
  const matrix dO = random_matrix<matrix>(7, 8, random);
  for (const nystrom& how :
       {nystrom{.landmarks = 3, .iterations = 6}, nystrom{.landmarks = 4, .iterations = 2},
        nystrom{.landmarks = 100, .iterations = 3}, nystrom{.landmarks = 1, .iterations = 0}}) {
    const options scaled{.scale = 0.8};
    const auto g = nystrom_attention_backward(Q, K, V, how, dO, h, scaled);
    const auto loss = [&] { return inner_product(dO, nystrom_attention(Q, K, V, how, h, scaled)); };
    SCOPED_TRACE(how.landmarks);
    expect_gradient("Q", Q, g.dQ, loss, 1e-6);
    expect_gradient("K", K, g.dK, loss, 1e-6);
    expect_gradient("V", V, g.dV, loss, 1e-6);
    EXPECT_EQ(g.dC.size(), 0);
  }
}

TEST(NystromGradient, OfTheConvolutionIsThatOfDifferences) {
  generator random = seed(17202);
  const heads h{.query = 2};
  matrix Q = random_matrix<matrix>(6, 6, random), K = random_matrix<matrix>(6, 6, random);
  matrix V = random_matrix<matrix>(6, 4, random);
  const matrix dO = random_matrix<matrix>(6, 4, random);
  const nystrom how{.landmarks = 3, .iterations = 4};
  for (const auto& [rows, width] : {std::pair<index, index>{2, 3}, {1, 5}, {2, 15}, {1, 1}}) {
    matrix C = random_matrix<matrix>(rows, width, random);
    const auto g = nystrom_attention_backward(Q, K, V, how, C, dO, h);
    const auto loss = [&] { return inner_product(dO, nystrom_attention(Q, K, V, how, C, h)); };
    expect_gradient("V", V, g.dV, loss, 1e-6);
    expect_gradient("C", C, g.dC, loss, 1e-6);
    expect_gradient("Q", Q, g.dQ, loss, 1e-6);
  }
}

TEST(NystromGradient, DoesNotDependOnThreadsOrStorage) {
  generator random = seed(17203);
  const matrix Q = random_matrix<matrix>(90, 8, random), K = random_matrix<matrix>(90, 8, random);
  const matrix V = random_matrix<matrix>(90, 5, random), dO = random_matrix<matrix>(90, 5, random);
  const nystrom how{.landmarks = 8, .iterations = 3};
  const auto one = nystrom_attention_backward(Q, K, V, how, dO);
  const exec::thread_pool pool(3);
  const col_major<double> q = Q, k = K, v = V;
  const auto three = nystrom_attention_backward(q, k, v, how, dO, pool);
  EXPECT_EQ(one.dQ, three.dQ);
  EXPECT_EQ(one.dK, three.dK);
  EXPECT_EQ(one.dV, three.dV);
  const auto f = nystrom_attention_backward(Q.cast<float>().eval(), K.cast<float>().eval(),
                                            V.cast<float>().eval(), how, dO.cast<float>().eval());
  expect_same_gradient("Q", f.dQ, one.dQ, 1e-3);
  expect_same_gradient("V", f.dV, one.dV, 1e-3);
}

TEST(NystromGradient, OfNothingIsNothing) {
  for (const auto& [n, m] : {std::pair<index, index>{0, 5}, {4, 0}}) {
    const matrix Q = matrix::Ones(n, 3), K = matrix::Ones(m, 3), V = matrix::Ones(m, 2);
    const auto g = nystrom_attention_backward(Q, K, V, {}, matrix::Ones(n, 2).eval());
    EXPECT_EQ(g.dQ, matrix::Zero(n, 3));
    EXPECT_EQ(g.dK, matrix::Zero(m, 3));
    EXPECT_EQ(g.dV, matrix::Zero(m, 2));
  }
}

TEST(NystromGradient, RefusesWhatDoesNotFit) {
  const matrix X = matrix::Ones(4, 3), longer = matrix::Ones(5, 3), even = matrix::Ones(1, 2);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)nystrom_attention_backward(X, X, X, {}, longer);
            }).find("nystrom_attention_backward: dO.rows() is 5 but Q.rows() is 4"),
            std::string::npos);
  EXPECT_THROW((void)nystrom_attention_backward(X, X, X, {.landmarks = 0}, X), argument_error);
  EXPECT_THROW((void)nystrom_attention_backward(X, X, X, {}, even, X), argument_error);
}

}  // namespace
}  // namespace softlook::nystrom_test
