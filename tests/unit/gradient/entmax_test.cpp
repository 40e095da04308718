#include "softlook/gradient/entmax.hpp"

#include "softlook/mask/causal.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::entmax_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;

constexpr double alphas[] = {1, 1.25, 1.5, 2, 2.5};

// Weights of α > 2 rise with infinite slope where they begin, so rows are of few keys.
TEST(EntmaxGradient, OfRowsIsThatOfDifferences) {
  generator random = seed(16301);
  for (const double alpha : alphas) {
    matrix S = random_matrix<matrix>(5, 6, random, 0.5);
    const matrix dP = random_matrix<matrix>(5, 6, random);
    const matrix dS = entmax_backward(entmax(S, alpha), dP, alpha);
    expect_gradient("S", S, dS, [&] { return inner_product(dP, entmax(S, alpha)); }, 1e-6);
    EXPECT_LE(dS.rowwise().sum().cwiseAbs().maxCoeff(), 1e-12);  // a shift changes nothing
  }
}

TEST(EntmaxGradient, OfAttentionIsThatOfDifferences) {
  generator random = seed(16302);
  const heads of{.query = 4, .kv = 2};
  matrix Q = random_matrix<matrix>(5, 12, random), K = random_matrix<matrix>(6, 6, random);
  matrix V = random_matrix<matrix>(6, 10, random);
  const matrix dO = random_matrix<matrix>(5, 20, random);
  for (const double alpha : {1.0, 1.5, 2.5}) {
    const auto check = [&](const auto&... policies) {
      const auto g = entmax_attention_backward(Q, K, V, dO, alpha, of, policies...);
      const auto loss = [&] {
        return inner_product(dO, entmax_attention(Q, K, V, alpha, of, policies...));
      };
      expect_gradient("Q", Q, g.dQ, loss, 1e-6);
      expect_gradient("K", K, g.dK, loss, 1e-6);
      expect_gradient("V", V, g.dV, loss, 1e-6);
    };
    check();
    check(scores::dot{}, masks::causal_top_left{}, options{.scale = 0.3});
  }
}

TEST(EntmaxGradient, KeepsApartWhatHasNoWeight) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  matrix P(3, 3), dP = matrix::Ones(3, 3);
  P << 0.5, 0.5, 0, nan, nan, nan, 0, 0, 0;
  dP(0, 2) = nan;
  dP(0, 0) = 3;
  const matrix dS = entmax_backward(P, dP, 1.5);
  EXPECT_NEAR(dS(0, 0), std::sqrt(0.5), 1e-15);
  EXPECT_NEAR(dS(0, 1), -std::sqrt(0.5), 1e-15);
  EXPECT_EQ(dS(0, 2), 0);
  EXPECT_TRUE(dS.row(1).array().isNaN().all());
  EXPECT_EQ(dS.row(2), matrix::Zero(1, 3));
}

TEST(EntmaxGradient, RefusesWhatDoesNotFit) {
  const matrix P = matrix::Constant(2, 2, 0.5);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)entmax_backward(P, matrix::Ones(2, 3), 2);
            }).find("entmax_backward: dP.cols() is 3 but P.cols() is 2"),
            std::string::npos);
  EXPECT_NE(message_of<argument_error>([&] { (void)entmax_backward(P, P, 0.5); }).find("alpha"),
            std::string::npos);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)entmax_attention_backward(P, P, P, matrix::Ones(3, 2), 2);
            }).find("dO.rows() is 3"),
            std::string::npos);
}

}  // namespace
}  // namespace softlook::entmax_test
