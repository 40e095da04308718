// Positive random features against the softmax kernel that they estimate.
#include "softlook/linear/random_features.hpp"

#include <gtest/gtest.h>

#include "softlook/linear.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/kernels.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace random_features_test {
namespace {

using softlook::index;
using softlook::random_feature_options;
using softlook::random_features;
using softlook_test::expect_error;
using softlook_test::row_major;

template <class T>
class RandomFeatures : public ::testing::Test {};
TYPED_TEST_SUITE(RandomFeatures, softlook_test::scalars, softlook_test::scalar_names);

template <class T>
constexpr double epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());

TYPED_TEST(RandomFeatures, FollowTheFormula) {
  using T = TypeParam;
  auto g = softlook_test::seed(3);
  const auto X = softlook_test::random_matrix<row_major<T>>(13, 6, g);
  const random_features<T> map(6, {.features = 10, .seed = 4, .epsilon = 0.5, .key_shift = 0.25});
  const auto queries = map.queries(X), keys = map.keys(X);
  ASSERT_EQ(queries.cols(), 10);
  for (index i = 0; i < 13; ++i) {
    const Eigen::VectorXd x = X.row(i).transpose().template cast<double>() / std::pow(6.0, 0.25);
    const Eigen::VectorXd wx = map.projection().template cast<double>() * x;
    const double half = x.squaredNorm() / 2;
    for (index r = 0; r < 10; ++r) {
      const double key = (std::exp(wx[r] - half - 0.25) + 0.5) / std::sqrt(10.0);
      const double query = (std::exp(wx[r] - half - wx.maxCoeff()) + 0.5) / std::sqrt(10.0);
      const double error = (8 + 8 * (half + wx.cwiseAbs().maxCoeff())) * epsilon<T>;
      EXPECT_NEAR(keys(i, r), key, error * key);
      EXPECT_NEAR(queries(i, r), query, error * query);
    }
  }
}

/// Lemma 1: E[φ(q)·φ(k)] = e^{q·k/√d}. A mean over independent seeds, held to five of its own
/// standard errors; the queries' subtracted exponents are put back.
TYPED_TEST(RandomFeatures, EstimateTheSoftmaxKernelWithoutBias) {
  using T = TypeParam;
  constexpr int seeds = 200;
  auto g = softlook_test::seed(5);
  const auto q = softlook_test::random_matrix<row_major<T>>(1, 8, g);
  const auto k = softlook_test::random_matrix<row_major<T>>(1, 8, g);
  const double kernel = std::exp(double((q * k.transpose())(0, 0)) / std::sqrt(8.0));
  double sum = 0, squares = 0;
  for (int s = 0; s < seeds; ++s) {
    const random_features<T> map(8, {.features = 64, .seed = std::uint64_t(s)});
    const double put_back =
        double(map.largest_exponent(q)) - double(q.squaredNorm()) / 2 / std::sqrt(8.0);
    const double estimate =
        double((map.queries(q) * map.keys(k).transpose())(0, 0)) * std::exp(put_back);
    sum += estimate;
    squares += estimate * estimate;
  }
  const double mean = sum / seeds, variance = squares / seeds - mean * mean;
  EXPECT_GT(variance, 0);
  EXPECT_NEAR(mean, kernel, 5 * std::sqrt(variance / seeds));
}

TYPED_TEST(RandomFeatures, ApproachSoftmaxAttentionAsTheyGetMore) {
  using T = TypeParam;
  const auto p = softlook_test::random_problem<T>(
      {.queries = 40, .keys = 60, .features = 8, .values = 5, .magnitude = 0.5},
      softlook_test::seed(7));
  const auto truth = softlook::attention(p.Q, p.K, p.V);
  const auto error = [&](index features) {
    double worst = 0;  // of the mean square, over seeds
    for (std::uint64_t s = 0; s < 8; ++s) {
      const random_features<T> map(8, {.features = features, .seed = s});
      const auto O = softlook::linear_attention(p.Q, p.K, p.V, map);
      worst += double((O - truth).squaredNorm() / truth.squaredNorm());
    }
    return std::sqrt(worst / 8);
  };
  const double few = error(32), many = error(2048);
  EXPECT_LT(many, few / 4);  // 1/√features: an eighth is expected
  EXPECT_GT(many, epsilon<T>);
}

TYPED_TEST(RandomFeatures, DirectionsOfABlockAreOrthogonalAndLengthsAreThoseOfGaussians) {
  using T = TypeParam;
  constexpr index d = 24, count = 24 * 40 + 7;
  const random_features<T> map(d, {.features = count, .seed = 11});
  const Eigen::MatrixXd W = map.projection().template cast<double>();
  for (index block = 0; block + d <= count; block += d) {
    const Eigen::MatrixXd B = W.middleRows(block, d).rowwise().normalized();
    EXPECT_LE((B * B.transpose() - Eigen::MatrixXd::Identity(d, d)).cwiseAbs().maxCoeff(),
              double(d) * epsilon<T>);
  }
  // |w|² is χ² with d degrees: mean d, variance 2d; entries have mean 0.
  const Eigen::VectorXd lengths = W.rowwise().squaredNorm();
  EXPECT_NEAR(lengths.mean(), double(d), 5 * std::sqrt(2.0 * d / count));
  EXPECT_GT((lengths.array() - lengths.mean()).square().mean(), double(d));
  EXPECT_NEAR(W.mean(), 0, 5 / std::sqrt(double(W.size())));
}

TYPED_TEST(RandomFeatures, EqualSeedsGiveEqualFeatures) {
  using T = TypeParam;
  const random_features<T> a(9, {.features = 30, .seed = 1}), b(9, {.features = 30, .seed = 1}),
      longer(9, {.features = 40, .seed = 1}), other(9, {.features = 30, .seed = 2});
  EXPECT_EQ(a.projection(), b.projection());
  EXPECT_EQ(a.projection(), longer.projection().topRows(30));
  EXPECT_NE(a.projection(), other.projection());
}

TYPED_TEST(RandomFeatures, ChunksAndSingleTokensAgree) {
  using T = TypeParam;
  for (const auto isa : softlook::available_instruction_sets()) {
    const auto p = softlook_test::random_problem<T>(
        {.queries = 150, .keys = 150, .features = 10, .values = 7}, softlook_test::seed(13));
    const random_features<T> map(10, {.features = 35, .seed = 6});
    const softlook::options o{.isa = isa};
    softlook::linear_state<T> state(35, 7);
    const auto whole = softlook::causal_linear_attention(p.Q, p.K, p.V, map, o);
    row_major<T> steps(150, 7);
    for (index i = 0; i < 150; ++i)
      softlook::causal_linear_attention_into(p.Q.row(i), p.K.row(i), p.V.row(i), steps.row(i),
                                             state, map, o);
    ASSERT_TRUE(whole.allFinite());
    // Positive weights: no sum cancels.
    EXPECT_LE((whole - steps).cwiseAbs().maxCoeff(),
              4 * (35 + 150 + 16) * epsilon<T> * double(p.V.cwiseAbs().maxCoeff()));
  }
}

TYPED_TEST(RandomFeatures, LongQueriesAndShiftedKeysCancel) {
  using T = TypeParam;
  auto p = softlook_test::random_problem<T>({.queries = 5, .keys = 20, .features = 4, .values = 3},
                                            softlook_test::seed(17));
  const random_features<T> map(4, {.features = 16}), shifted(4, {.features = 16, .key_shift = 3});
  const auto O = softlook::linear_attention(p.Q, p.K, p.V, map);
  const auto S = softlook::linear_attention(p.Q, p.K, p.V, shifted);
  EXPECT_LE((O - S).cwiseAbs().maxCoeff(), 200 * epsilon<T> * double(p.V.cwiseAbs().maxCoeff()));
  p.Q *= T(100);  // e^{−|q|²/2} alone would underflow
  const auto far = softlook::linear_attention(p.Q, p.K, p.V, map);
  ASSERT_TRUE(far.allFinite());
  for (index i = 0; i < 5; ++i) EXPECT_GT(far.row(i).cwiseAbs().maxCoeff(), 0);
}

TYPED_TEST(RandomFeatures, MisuseIsNamed) {
  using T = TypeParam;
  using softlook::argument_error;
  using softlook::shape_error;
  const auto fails = [](index inputs, const random_feature_options& o, const char* text) {
    expect_error<argument_error>([&] { random_features<T>(inputs, o); }, {text});
  };
  fails(0, {}, "random_features: inputs is 0");
  fails(4, {.features = 0}, "random_features: features is 0");
  fails(4, {.scale = 0.0}, "random_features: scale is 0");
  fails(4, {.epsilon = -1}, "random_features: epsilon is -1");
  fails(4, {.key_shift = std::nan("")}, "random_features: key_shift is nan");
  const random_features<T> map(5);
  EXPECT_EQ(map.count(), 256);
  const row_major<T> X = row_major<T>::Zero(3, 4);
  expect_error<shape_error>([&] { static_cast<void>(map.keys(X)); },
                            {"random_features: X.cols() is 4 but inputs() is 5"});
  expect_error<shape_error>([&] { static_cast<void>(softlook::linear_attention(X, X, X, map)); },
                            {"linear_attention: K.cols() is 4 but random_features inputs() is 5"});
}

}  // namespace
}  // namespace random_features_test
