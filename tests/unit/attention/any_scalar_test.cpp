#include "softlook/attention/any_scalar.hpp"

#include <gtest/gtest.h>

#include <unsupported/Eigen/AutoDiff>

#include "softlook/gradient/attention.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook::any_scalar_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using derived = Eigen::AutoDiffScalar<Eigen::VectorXd>;
using derived_matrix = row_major<derived>;

/// The numbers of a matrix, entry k of all of them the k-th that is differentiated by.
derived_matrix variables(const matrix& X, index first, index all) {
  derived_matrix Y(X.rows(), X.cols());
  for (index k = 0; k < X.size(); ++k) Y.data()[k] = derived(X.data()[k], int(all), int(first + k));
  return Y;
}

template <class... Ps>
void expect_derivatives(index n, index m, index d, index e, heads h, const Ps&... policies) {
  generator random = seed(18001);
  const index kv = h.kv_or_query();
  const auto Q = random_matrix<matrix>(n, d * h.query, random);
  const auto K = random_matrix<matrix>(m, d * kv, random);
  const auto V = random_matrix<matrix>(m, e * kv, random);
  const auto dO = random_matrix<matrix>(n, e * h.query, random);
  const index all = Q.size() + K.size() + V.size();
  const derived_matrix O = attention(variables(Q, 0, all), variables(K, Q.size(), all),
                                     variables(V, Q.size() + K.size(), all), h, policies...);
  const auto state = attention_with_log_sum_exp(Q, K, V, h, policies...);
  const auto g = attention_backward(Q, K, V, state.output, state.log_sum_exp, dO, h, policies...);
  Eigen::VectorXd sum = Eigen::VectorXd::Zero(all);
  ASSERT_EQ(O.rows(), state.output.rows());
  ASSERT_EQ(O.cols(), state.output.cols());
  for (index k = 0; k < O.size(); ++k) {
    EXPECT_NEAR(O.data()[k].value(), state.output.data()[k], 1e-14);
    if (O.data()[k].derivatives().size() > 0) sum += dO.data()[k] * O.data()[k].derivatives();
  }
  Eigen::VectorXd expected(all);
  expected << Eigen::Map<const Eigen::VectorXd>(g.dQ.data(), Q.size()),
      Eigen::Map<const Eigen::VectorXd>(g.dK.data(), K.size()),
      Eigen::Map<const Eigen::VectorXd>(g.dV.data(), V.size());
  ASSERT_TRUE(sum.allFinite());
  EXPECT_LE((sum - expected).cwiseAbs().maxCoeff(), 1e-13);
}

TEST(AnyScalar, CarriesDerivativesThatTheWayBackAgreesWith) {
  expect_derivatives(4, 5, 3, 2, heads{});
  expect_derivatives(4, 5, 3, 2, heads{}, masks::causal_bottom_right{}, options{.scale = 0.7});
  expect_derivatives(4, 3, 3, 2, heads{}, masks::causal_bottom_right{});  // a row without keys
  expect_derivatives(3, 4, 2, 2, heads{.query = 4, .kv = 2}, transforms::soft_cap{1.5},
                     transforms::alibi{0.25}, masks::window{.left = 2, .right = 1});
  expect_derivatives(3, 4, 2, 2, heads{}, scores::dot{},
                     transforms::map([](auto s, std::int32_t i, std::int32_t j) -> decltype(s) {
                       return s * s - s * double(i + j);
                     }));
}

TEST(AnyScalar, LongDoubleIsMorePrecise) {
  generator random = seed(18002);
  const auto Q = random_matrix<matrix>(6, 4, random), K = random_matrix<matrix>(7, 4, random);
  const matrix V = matrix::Identity(7, 7);
  using precise = row_major<long double>;
  const precise P =
      attention_weights(precise(Q.cast<long double>()), precise(K.cast<long double>()));
  const precise O = attention(precise(Q.cast<long double>()), precise(K.cast<long double>()),
                              precise(V.cast<long double>()));
  EXPECT_TRUE(P.allFinite());
  EXPECT_EQ(P, O);
  EXPECT_LE((P.rowwise().sum().array() - 1).abs().maxCoeff(), 1e-18L);
  EXPECT_LE((P.cast<double>() - attention_weights(Q, K)).cwiseAbs().maxCoeff(), 1e-15);
}

TEST(AnyScalar, GivesZerosForEmptyRowsAndReadsNoMaskedValue) {
  using precise = row_major<long double>;
  precise V = precise::Ones(3, 2);
  V.row(2).setConstant(std::numeric_limits<long double>::quiet_NaN());
  const precise X = precise::Ones(3, 2);
  const precise O = attention(X, X, V, masks::causal{.offset = -1} & masks::padding{.length = 2});
  EXPECT_EQ(O.row(0), precise::Zero(1, 2));
  EXPECT_EQ(O.bottomRows(2), precise::Ones(2, 2));
}

TEST(AnyScalar, RefusesShapesThatDoNotFit) {
  using precise = row_major<long double>;
  const precise X = precise::Ones(3, 2), longer = precise::Ones(4, 2), wide = precise::Ones(3, 5);
  expect_error<shape_error>([&] { static_cast<void>(attention(X, X, longer)); },
                            {"attention: V.rows() is 4", "K.rows() is 3"});
  expect_error<shape_error>([&] { static_cast<void>(attention(X, wide, wide)); },
                            {"attention: K.cols() is 5", "is 2"});
  expect_error<shape_error>([&] { static_cast<void>(attention(X, X, X, heads{.query = 3})); },
                            {"Q.cols()", "3"});
  expect_error<argument_error>(
      [&] { static_cast<void>(attention(X, X, X, transforms::soft_cap{-1})); }, {"cap"});
}

}  // namespace
}  // namespace softlook::any_scalar_test
