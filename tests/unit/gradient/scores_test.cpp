#include "softlook/gradient/scores.hpp"

#include <limits>

#include "softlook/mask/causal.hpp"
#include "softlook/mask/padding.hpp"
#include "softlook/transform/transforms.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::scores_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using row = Eigen::RowVectorXd;

constexpr heads grouped{.query = 4, .kv = 2};

/// score(p) is the score policy of the weights.
template <class P, class Score>
void expect_scored(P p, index query_features, index key_features, const Score& score,
                   generator& random) {
  matrix Q = random_matrix<matrix>(4, 4 * query_features, random);
  matrix K = random_matrix<matrix>(5, 2 * key_features, random);
  matrix V = random_matrix<matrix>(5, 4, random);
  const matrix dO = random_matrix<matrix>(4, 8, random);
  const auto check = [&](const auto&... policies) {
    P gradients = zeros_like(p);
    const auto g = scored_attention_backward(p, Q, K, V, dO, gradients, grouped, policies...);
    const auto loss = [&] {
      return inner_product(dO, attention(Q, K, V, score(p), grouped, policies...));
    };
    expect_gradient("Q", Q, g.dQ, loss, 1e-6);
    expect_gradient("K", K, g.dK, loss, 1e-6);
    expect_gradient("V", V, g.dV, loss, 1e-6);
    expect_parameter_gradients(p, gradients, loss, 1e-6);
    // They are added up.
    const P once = gradients;
    (void)scored_attention_backward(p, Q, K, V, dO, gradients, grouped, policies...);
    for_each_parameter(
        [](const std::string& name, const auto& a, const auto& b) {
          EXPECT_LE((a - 2 * b).cwiseAbs().sum(), 1e-10) << name;
        },
        gradients, once);
  };
  check();
  check(masks::causal_bottom_right{}, transforms::soft_cap{1.5}, options{.scale = 0.6});
}

TEST(ScoreGradient, OfNormalisedRowsIsThatOfDifferences) {
  generator random = seed(17602);
  const auto score = [](const auto& p) { return scores::qk_norm(p.gain_q, p.gain_k, p.options); };
  for (const scores::row_norm norm : {scores::row_norm::rms, scores::row_norm::l2})
    for (const double epsilon : {1e-6, 0.3}) {
      const qk_norm_parameters<double> p{
          random_matrix<row>(1, 3, random), random_matrix<row>(1, 3, random), {norm, epsilon}};
      expect_scored(p, 3, 3, score, random);
    }
  expect_scored(
      qk_norm_parameters<double>{{}, {}, {scores::row_norm::l2, 0}}, 3, 3,
      [](const auto&) { return scores::cosine{}; }, random);
}

TEST(ScoreGradient, OfTrilinearIsThatOfDifferences) {
  generator random = seed(17603);
  for (const index parts : {2, 3})
    expect_scored(
        trilinear_parameters<double>{random_matrix<row>(1, 3 * parts, random)}, 3, 3,
        [](const auto& p) { return scores::trilinear(p.w); }, random);
}

TEST(ScoreGradient, KeepsApartWhatIsMasked) {
  generator random = seed(17605);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  matrix Q = random_matrix<matrix>(4, 3, random), K = random_matrix<matrix>(5, 3, random);
  matrix V = random_matrix<matrix>(5, 2, random);
  K.bottomRows(2).setConstant(nan);
  V.bottomRows(2).setConstant(nan);
  Q.row(0).setConstant(nan);  // it sees no key
  const matrix dO = matrix::Ones(4, 2);
  const auto mask = masks::padding{.length = 3} & masks::causal{.offset = -1};
  const auto check = [&](const auto& p) {
    auto gradients = zeros_like(p);
    const auto g = scored_attention_backward(p, Q, K, V, dO, gradients, mask);
    EXPECT_TRUE(g.dQ.allFinite() && g.dK.allFinite() && g.dV.allFinite());
    EXPECT_EQ(g.dK.bottomRows(2), matrix::Zero(2, 3));
    EXPECT_EQ(g.dQ.row(0), matrix::Zero(1, 3));
    for_each_parameter(
        [](const std::string& name, const auto& d) { EXPECT_TRUE(d.allFinite()) << name; },
        gradients);
  };
  check(qk_norm_parameters<double>{row::Ones(3), row::Ones(3), {}});
  check(trilinear_parameters<double>{random_matrix<row>(1, 9, random)});
}

TEST(ScoreGradient, RefusesWhatDoesNotFit) {
  const matrix X = matrix::Ones(4, 3), longer = matrix::Ones(5, 3);
  trilinear_parameters<double> p{row::Ones(9)}, other{row::Constant(6, 7)};
  auto gradients = zeros_like(p);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)scored_attention_backward(p, X, X, X, longer, gradients);
            }).find("scored_attention_backward: dO.rows() is 5 but Q.rows() is 4"),
            std::string::npos);
  EXPECT_THROW((void)scored_attention_backward(p, X, X, X, X, other), shape_error);
  EXPECT_EQ(other.w, row::Constant(6, 7));
  qk_norm_parameters<double> gains{row::Ones(2), row::Ones(3), {}}, of = gains;
  EXPECT_THROW((void)scored_attention_backward(gains, X, X, X, X, of), shape_error);
  gains = {row::Ones(3), row::Ones(3), {scores::row_norm::rms, -1}};
  EXPECT_THROW((void)scored_attention_backward(gains, X, X, X, X, of), argument_error);
  trilinear_parameters<double> w{row::Ones(8)}, dw = w;
  EXPECT_THROW((void)scored_attention_backward(w, X, X, X, X, dw), shape_error);
}

}  // namespace
}  // namespace softlook::scores_test
