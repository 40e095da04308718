#include "softlook/gradient/non_local.hpp"

#include <array>
#include <limits>

#include "softlook/exec/thread_pool.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/mask/padding.hpp"
#include "softlook/mask/window.hpp"
#include "tests/support/agreement.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::non_local_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using weights = Eigen::MatrixXd;
using row = Eigen::RowVectorXd;

non_local_parameters<double> block_weights(bool queries, bool values, bool outputs,
                                           generator& random) {
  non_local_parameters<double> p;
  p.gain = 0.7;
  if (queries) {
    p.Wq = random_matrix<weights>(4, 3, random);
    p.Wk = random_matrix<weights>(4, 3, random);
    p.bk = random_matrix<row>(1, 3, random);
  }
  const index mixed = values && outputs ? 5 : 4;
  if (values) p.Wv = random_matrix<weights>(4, mixed, random);
  if (values) p.bv = random_matrix<row>(1, mixed, random);
  if (outputs) p.Wo = random_matrix<weights>(mixed, 4, random);
  if (outputs) p.bo = random_matrix<row>(1, 4, random);
  return p;
}

TEST(NonLocalGradient, OfABlockIsThatOfDifferences) {
  generator random = seed(17101);
  for (const auto& [queries, values, outputs] : {std::array<bool, 3>{true, true, true},
                                                 {false, false, false},
                                                 {true, true, false},
                                                 {false, false, true}}) {
    auto p = block_weights(queries, values, outputs, random);
    matrix X = random_matrix<matrix>(4, 6, random);
    const matrix dY = random_matrix<matrix>(4, 6, random);
    const auto check = [&](const auto&... policies) {
      saved_non_local<double> saved, other;
      non_local_forward(p, X, saved, policies...);
      EXPECT_LE(max_error(saved.Y, non_local_block<double>(p)(X, policies...)), 1e-13);
      auto gradients = zeros_like(p);
      EXPECT_EQ(gradients.gain, 0);
      const matrix dX = non_local_backward(p, saved, dY, gradients, policies...);
      const auto loss = [&] {
        return inner_product(dY, non_local_forward(p, X, other, policies...));
      };
      expect_gradient("X", X, dX, loss);
      expect_parameter_gradients(p, gradients, loss);
    };
    check();
    check(masks::window{.left = 1, .right = 2}, options{.scale = 0.3});
  }
}

TEST(NonLocalGradient, OfChannelsIsThatOfDifferences) {
  generator random = seed(17102);
  matrix X = random_matrix<matrix>(5, 6, random);
  const matrix dY = random_matrix<matrix>(5, 6, random);
  matrix gain = matrix::Constant(1, 1, 0.4);
  const auto check = [&](const auto&... policies) {
    const auto g = channel_self_attention_backward(X, gain(0, 0), dY, policies...);
    const auto loss = [&] {
      return inner_product(dY, channel_self_attention(X, gain(0, 0), policies...));
    };
    expect_gradient("X", X, g.dX, loss);
    expect_gradient("gain", gain, matrix::Constant(1, 1, g.dgain).eval(), loss);
  };
  check();
  check(masks::causal_top_left{}, options{.scale = 0.3});
}

TEST(NonLocalGradient, OfDualAttentionIsThatOfDifferences) {
  generator random = seed(17103);
  dual_attention_parameters<double> p{block_weights(true, true, false, random), 0.3};
  matrix X = random_matrix<matrix>(4, 6, random);
  const matrix dY = random_matrix<matrix>(4, 6, random);
  saved_dual_attention<double> saved, other;
  dual_attention_forward(p, X, saved);
  const dual_attention<double> layer(non_local_block<double>(p.position), p.channel_gain);
  EXPECT_LE(max_error(saved.Y, layer(X)), 1e-13);
  auto gradients = zeros_like(p);
  const matrix dX = dual_attention_backward(p, saved, dY, gradients);
  const auto loss = [&] { return inner_product(dY, dual_attention_forward(p, X, other)); };
  expect_gradient("X", X, dX, loss);
  expect_parameter_gradients(p, gradients, loss);
}

TEST(NonLocalGradient, OfPoolingIsThatOfDifferences) {
  generator random = seed(17104);
  matrix X = random_matrix<matrix>(4, 6, random);
  weights queries = random_matrix<weights>(3, 4, random);
  const matrix dO = random_matrix<matrix>(3, 4, random);
  const auto check = [&](const auto&... policies) {
    const auto g = attention_pool_backward(X, queries, dO, policies...);
    const auto loss = [&] { return inner_product(dO, attention_pool(X, queries, policies...)); };
    expect_gradient("X", X, g.dX, loss);
    expect_gradient("queries", queries, g.dqueries, loss);
  };
  check();
  check(masks::padding{.length = 4}, options{.scale = 0.3});

  const heads h{.query = 2};
  attention_pooling_parameters<double> p;
  p.attend.Wq = random_matrix<weights>(4, 6, random);
  p.attend.Wk = random_matrix<weights>(4, 6, random);
  p.attend.Wv = random_matrix<weights>(4, 6, random);
  p.attend.Wo = random_matrix<weights>(6, 5, random);
  for (const bool placed : {true, false}) {
    p.positions = placed ? random_matrix<weights>(7, 4, random) : weights();
    const matrix dY = random_matrix<matrix>(1, 5, random);
    saved_attention_pooling<double> saved, other;
    const matrix Y = attention_pooling_forward(p, h, X, saved);
    EXPECT_LE(max_error(Y, attention_pooling<double>(p.attend, h, p.positions)(X)), 1e-13);
    auto gradients = zeros_like(p);
    const matrix dX = attention_pooling_backward(p, h, saved, dY, gradients);
    const auto loss = [&] { return inner_product(dY, attention_pooling_forward(p, h, X, other)); };
    expect_gradient("X", X, dX, loss);
    expect_parameter_gradients(p, gradients, loss);
  }
}

TEST(NonLocalGradient, DoesNotDependOnThreadsOrStorage) {
  generator random = seed(17105);
  const auto p = block_weights(true, true, true, random);
  const matrix X = random_matrix<matrix>(4, 250, random),
               dY = random_matrix<matrix>(4, 250, random);
  saved_non_local<double> one, three;
  auto of_one = zeros_like(p), of_three = zeros_like(p);
  non_local_forward(p, X, one);
  non_local_backward(p, one, dY, of_one);
  const exec::thread_pool pool(3);
  const col_major<double> x = X, d = dY;
  non_local_forward(p, x, three, pool);
  non_local_backward(p, three, d, of_three, pool);
  EXPECT_EQ(one.dX, three.dX);
  EXPECT_EQ(of_one.Wq, of_three.Wq);
  EXPECT_EQ(of_one.Wo, of_three.Wo);
  EXPECT_EQ(of_one.gain, of_three.gain);
  saved_non_local<float> narrow;
  const auto q = cast_parameters<float>(p);
  auto of_narrow = zeros_like(q);
  non_local_forward(q, X.cast<float>().eval(), narrow);
  non_local_backward(q, narrow, dY.cast<float>().eval(), of_narrow);
  expect_same_gradient("X", narrow.dX, one.dX);
  expect_same_parameter_gradients(of_narrow, of_one, 1e-4);
}

TEST(NonLocalGradient, OfNothingIsNothing) {
  const matrix X(4, 0);
  const non_local_parameters<double> p;
  saved_non_local<double> saved;
  auto gradients = zeros_like(p);
  EXPECT_EQ(non_local_forward(p, X, saved).cols(), 0);
  EXPECT_EQ(non_local_backward(p, saved, X, gradients).cols(), 0);
  EXPECT_EQ(channel_self_attention_backward(X, 1.0, X).dX.size(), 0);
  const auto g = attention_pool_backward(X, matrix::Ones(2, 4), matrix::Ones(2, 4));
  EXPECT_EQ(g.dqueries, matrix::Zero(2, 4));
}

TEST(NonLocalGradient, RefusesWhatDoesNotFit) {
  generator random = seed(17106);
  const auto p = block_weights(true, true, true, random);
  saved_non_local<double> saved;
  EXPECT_NE(message_of<shape_error>([&] {
              (void)non_local_forward(p, matrix::Ones(5, 6), saved);
            }).find("non_local_forward: X.rows() is 5 but channels is 4"),
            std::string::npos);
  EXPECT_EQ(saved.X.size(), 0);
  non_local_forward(p, matrix::Ones(4, 6), saved);
  auto gradients = zeros_like(p);
  EXPECT_NE(message_of<shape_error>([&] {
              (void)non_local_backward(p, saved, matrix::Ones(4, 5), gradients);
            }).find("dY.cols() is 5"),
            std::string::npos);
  EXPECT_EQ(gradients.Wq, weights::Zero(4, 3));
  auto wrong = p;
  wrong.Wk = weights::Ones(4, 2);
  EXPECT_THROW((void)non_local_forward(wrong, matrix::Ones(4, 6), saved), shape_error);
  wrong = p;
  wrong.gain = std::numeric_limits<double>::infinity();
  EXPECT_THROW((void)non_local_forward(wrong, matrix::Ones(4, 6), saved), argument_error);
  EXPECT_THROW((void)channel_self_attention_backward(matrix::Ones(4, 6), 1.0, matrix::Ones(4, 5)),
               shape_error);
  EXPECT_THROW(
      (void)attention_pool_backward(matrix::Ones(4, 6), matrix::Ones(2, 3), matrix::Ones(2, 4)),
      shape_error);
  attention_pooling_parameters<double> pool;
  pool.attend.Wq = pool.attend.Wk = pool.attend.Wv = pool.attend.Wo = weights::Ones(4, 4);
  saved_attention_pooling<double> of_pool;
  EXPECT_THROW((void)attention_pooling_forward(pool, {}, matrix(4, 0), of_pool), argument_error);
  pool.positions = weights::Ones(3, 4);
  EXPECT_THROW((void)attention_pooling_forward(pool, {}, matrix::Ones(4, 6).eval(), of_pool),
               shape_error);
}

}  // namespace
}  // namespace softlook::non_local_test
