#include "softlook/gradient/positional.hpp"

#include <limits>

#include "softlook/exec/thread_pool.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/mask/padding.hpp"
#include "softlook/transform/transforms.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::positional_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;

TEST(PositionalGradient, OfLogitsIsThatOfDifferences) {
  generator random = seed(16901);
  const heads h{.query = 2, .kv = 1};
  matrix S = random_matrix<matrix>(14, 8, random), V = random_matrix<matrix>(6, 3, random);
  const matrix dO = random_matrix<matrix>(6, 6, random);
  const position_logits learned(S);
  const auto check = [&](const auto&... policies) {
    const auto g = positional_attention_backward(learned, V, dO, h, policies...);
    const auto loss = [&] {
      return inner_product(dO, positional_attention(learned, V, h, policies...));
    };
    expect_gradient("S", S, g.dS, loss);
    expect_gradient("V", V, g.dV, loss);
  };
  check();
  check(masks::causal_top_left{}, options{.scale = 0.3});
  check(transforms::soft_cap{1.5}, transforms::alibi{0.2}, options{.scale = 2});
}

TEST(PositionalGradient, OfFactorsIsThatOfDifferences) {
  generator random = seed(16902);
  const heads h{.query = 4, .kv = 2};
  col_major<double> P1 = random_matrix<matrix>(7, 8, random);
  matrix P2 = random_matrix<matrix>(8, 4, random), V = random_matrix<matrix>(6, 6, random);
  const matrix dO = random_matrix<matrix>(6, 12, random);
  const position_factors learned(P1, P2);
  const auto check = [&](const auto&... policies) {
    const auto g = positional_attention_backward(learned, V, dO, h, policies...);
    const auto loss = [&] {
      return inner_product(dO, positional_attention(learned, V, h, policies...));
    };
    expect_gradient("P1", P1, g.dP1, loss);
    expect_gradient("P2", P2, g.dP2, loss);
    expect_gradient("V", V, g.dV, loss);
  };
  check();
  check(masks::causal_top_left{}, transforms::soft_cap{1.5}, options{.scale = 0.3});
}

TEST(PositionalGradient, DoesNotDependOnThreadsOrStorage) {
  generator random = seed(16903);
  const matrix S = random_matrix<matrix>(230, 230, random);
  const matrix V = random_matrix<matrix>(230, 5, random),
               dO = random_matrix<matrix>(230, 5, random);
  const auto one = positional_attention_backward(position_logits(S), V, dO);
  const exec::thread_pool pool(3);
  const col_major<double> by_columns = S, values = V;
  const auto three = positional_attention_backward(position_logits(by_columns), values, dO, pool);
  EXPECT_EQ(one.dS, three.dS);
  EXPECT_EQ(one.dV, three.dV);
  const matrix P = positional_attention_weights(position_logits(S), 230);
  const matrix dP = dO * V.transpose();
  const matrix dS = P.cwiseProduct((dP.colwise() - P.cwiseProduct(dP).rowwise().sum()).eval());
  EXPECT_LE((one.dS - dS).cwiseAbs().maxCoeff(), 1e-12);
  const row_major<float> narrow = S.cast<float>();
  const auto f = positional_attention_backward(position_logits(narrow), V.cast<float>().eval(),
                                               dO.cast<float>().eval());
  expect_same_gradient("S", f.dS, one.dS);
  expect_same_gradient("V", f.dV, one.dV);
}

TEST(PositionalGradient, KeepsApartWhatIsMasked) {
  generator random = seed(16904);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  matrix S = random_matrix<matrix>(6, 6, random), V = random_matrix<matrix>(6, 3, random);
  S.rightCols(2).setConstant(nan);
  V.bottomRows(2).setConstant(nan);
  const auto g = positional_attention_backward(position_logits(S), V, matrix::Ones(6, 3),
                                               masks::padding{.length = 4});
  EXPECT_TRUE(g.dS.allFinite());
  EXPECT_TRUE(g.dV.allFinite());
  EXPECT_EQ(g.dS.rightCols(2), matrix::Zero(6, 2));
  EXPECT_EQ(g.dV.bottomRows(2), matrix::Zero(2, 3));
}

TEST(PositionalGradient, OfNothingIsNothing) {
  const matrix S = matrix::Ones(4, 4), V(0, 3), dO(0, 3);
  const auto g = positional_attention_backward(position_logits(S), V, dO);
  EXPECT_EQ(g.dS, matrix::Zero(4, 4));
  EXPECT_EQ(g.dV.size(), 0);
  const auto of = positional_attention_backward(position_factors(S, S), V, dO);
  EXPECT_EQ(of.dP1, matrix::Zero(4, 4));
  EXPECT_EQ(of.dP2, matrix::Zero(4, 4));
}

TEST(PositionalGradient, RefusesWhatDoesNotFit) {
  const matrix S = matrix::Ones(4, 4), V = matrix::Ones(4, 3), longer = matrix::Ones(5, 3);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)positional_attention_backward(position_logits(S), V, longer);
            }).find("positional_attention_backward: dO.rows() is 5 but V.rows() is 4"),
            std::string::npos);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)positional_attention_backward(position_logits(S), longer, longer);
            }).find("position_logits rows() of a head is 4"),
            std::string::npos);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)positional_attention_backward(position_factors(S, V), V, V);
            }).find("both factors have one rank"),
            std::string::npos);
}

}  // namespace
}  // namespace softlook::positional_test
