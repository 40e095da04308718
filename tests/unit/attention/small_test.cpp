// Matrices whose types say that they are small: no kernel, the same attention.
#include "tests/support/kernels.hpp"
//
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "softlook/attention.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"

namespace softlook::small_test {
namespace {

using softlook_test::expect_error;

template <class T>
class SmallMatrices : public ::testing::Test {
 protected:
  static constexpr T infinity = std::numeric_limits<T>::infinity();
  static constexpr T nan = std::numeric_limits<T>::quiet_NaN();
};
TYPED_TEST_SUITE(SmallMatrices, softlook_test::scalars);

template <class T>
using whole = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;

/// Output, log-sum-exp and weights of fixed sizes are those of the formula in long double.
template <class T, int n, int m, int d, int e, int Order, class... Ps>
void expect_formula(const Ps&... policies) {
  softlook_test::generator random = softlook_test::seed(311);
  Eigen::Matrix<T, n, d, n == 1 ? Eigen::RowMajor : Order> Q;
  Eigen::Matrix<T, m, d, m == 1 ? Eigen::RowMajor : d == 1 ? Eigen::ColMajor : Order> K;
  Eigen::Matrix<T, m, e, m == 1 ? Eigen::RowMajor : e == 1 ? Eigen::ColMajor : Order> V;
  Q = softlook_test::random_matrix<whole<T>>(n, d, random);
  K = softlook_test::random_matrix<whole<T>>(m, d, random);
  V = softlook_test::random_matrix<whole<T>>(m, e, random);
  static_assert(detail::is_small_call<decltype(Q), decltype(K), decltype(V), Ps...>());
  const auto state = attention_with_log_sum_exp(Q, K, V, policies...);
  const auto P = attention_weights(Q, K, policies...);
  // Dynamic copies are computed by the kernels, and by plain Eigen.
  const whole<T> q = Q, k = K, v = V;
  const auto naive = naive_attention(q, k, v, policies...);
  const T bound = 40 * std::numeric_limits<T>::epsilon();
  ASSERT_TRUE(state.output.allFinite());
  EXPECT_LE((state.output - naive.output).cwiseAbs().maxCoeff(), bound);
  EXPECT_LE((P - naive.weights).cwiseAbs().maxCoeff(), bound);
  for (index i = 0; i < n; ++i) {
    if (std::isinf(naive.log_sum_exp(i)))
      EXPECT_EQ(state.log_sum_exp(i), naive.log_sum_exp(i));
    else
      EXPECT_NEAR(state.log_sum_exp(i), naive.log_sum_exp(i), bound);
  }
  EXPECT_EQ(attention(Q, K, V, policies...), state.output);
}

TYPED_TEST(SmallMatrices, GiveTheAttentionOfTheFormula) {
  using T = TypeParam;
  expect_formula<T, 1, 1, 1, 1, Eigen::RowMajor>();
  expect_formula<T, 3, 3, 3, 3, Eigen::ColMajor>();
  expect_formula<T, 2, 7, 4, 3, Eigen::RowMajor>();
  expect_formula<T, 4, 4, 8, 8, Eigen::ColMajor>();
  expect_formula<T, 1, 8, 16, 5, Eigen::RowMajor>();
  expect_formula<T, 2, 2, 3, 2, Eigen::RowMajor>(masks::causal_top_left{});
  expect_formula<T, 4, 3, 2, 2, Eigen::ColMajor>(masks::causal_bottom_right{},
                                                 transforms::soft_cap{0.5});
  expect_formula<T, 3, 4, 2, 2, Eigen::RowMajor>(
      transforms::map(
          [](auto s, std::int32_t i, std::int32_t j) { return s * 2 + decltype(s)(i - j); }),
      frame{.first_query = 7});
}

/// Rows whose first query may attend to nothing.
TYPED_TEST(SmallMatrices, WithoutAKeyGiveZeros) {
  using square = Eigen::Matrix<TypeParam, 3, 3>;
  const square X = square::Constant(TypeParam(0.5));
  const auto none = masks::where([](std::int32_t i, std::int32_t) { return i > 0; });
  const auto state = attention_with_log_sum_exp(X, X, X, none);
  EXPECT_TRUE(state.output.row(0).isZero(0));
  EXPECT_EQ(state.log_sum_exp(0), -this->infinity);
  EXPECT_TRUE(attention_weights(X, X, none).row(0).isZero(0));
  EXPECT_TRUE(std::isfinite(state.log_sum_exp(1)));
}

TYPED_TEST(SmallMatrices, MeetNoMaskedValueAndEveryOtherOne) {
  using square = Eigen::Matrix<TypeParam, 3, 3>;
  const square X = square::Identity();
  square V = square::Ones();
  V(2, 0) = this->nan;
  V(2, 1) = this->infinity;
  const auto O = attention(X, X, V, masks::causal_top_left{});
  EXPECT_TRUE(O.topRows(2).allFinite());
  EXPECT_TRUE(std::isnan(O(2, 0)));
  EXPECT_EQ(O(2, 1), this->infinity);
  EXPECT_TRUE(std::isfinite(O(2, 2)));
}

TYPED_TEST(SmallMatrices, GiveNaNForAScoreThatIsNone) {
  using square = Eigen::Matrix<TypeParam, 2, 2>;
  for (const TypeParam bad : {this->nan, this->infinity}) {
    square K = square::Ones();
    K(1, 0) = bad;
    const square X = square::Ones();
    EXPECT_TRUE(attention(X, K, X).hasNaN());
    EXPECT_TRUE(attention_weights(X, K).hasNaN());
    EXPECT_TRUE(attention(X, K, X, masks::causal_top_left{}).row(0).allFinite());
  }
}

/// The largest finite numbers, as others mask with them.
TYPED_TEST(SmallMatrices, TakeScoresOfAnySize) {
  using square = Eigen::Matrix<TypeParam, 2, 2>;
  const square X = square::Zero(), V = square::Identity();
  square B;
  B << 0, std::numeric_limits<TypeParam>::lowest(), std::numeric_limits<TypeParam>::lowest(),
      std::numeric_limits<TypeParam>::lowest();
  const auto O = attention(X, X, V, transforms::bias(B));
  EXPECT_EQ(O(0, 0), 1);
  EXPECT_EQ(O(0, 1), 0);
  EXPECT_EQ(O(1, 0), TypeParam(0.5));
}

TYPED_TEST(SmallMatrices, AreCheckedAsOthers) {
  using T = TypeParam;
  Eigen::Matrix<T, 2, 2> Q = Eigen::Matrix<T, 2, 2>::Ones(), before = Q;
  const Eigen::Matrix<T, 2, 3> K = Eigen::Matrix<T, 2, 3>::Ones();
  expect_error<shape_error>([&] { (void)attention(Q, K, Q); }, {"3", "2"});
  expect_error<argument_error>([&] { attention_into(Q, before, before, Q); }, {"O", "Q"});
  EXPECT_EQ(Q, before);
}

/// Values of 16 bits are read by the kernels, and so the call is none of plain loops.
TEST(SmallStoredMatrices, AreReadByTheKernels) {
  using square = Eigen::Matrix3f;
  const square X = square::Identity();
  const Eigen::Matrix<Eigen::half, 3, 3> H = X.cast<Eigen::half>();
  const Eigen::Matrix<Eigen::bfloat16, 3, 3> B = X.cast<Eigen::bfloat16>();
  const square expected = attention(X, X, X);
  EXPECT_TRUE(attention(X, X, H).isApprox(expected, 1e-6F));
  EXPECT_TRUE(attention(X, H, X).isApprox(expected, 1e-6F));
  EXPECT_TRUE(attention(X, B, H).isApprox(expected, 1e-6F));
  EXPECT_TRUE(attention(H, H, H).cast<float>().isApprox(expected, 1e-2F));
  EXPECT_TRUE(attention_weights(X, H).isApprox(attention_weights(X, X), 1e-6F));
}

TYPED_TEST(SmallMatrices, SayThatNoKernelRuns) {
  const Eigen::Matrix<TypeParam, 3, 3> X = Eigen::Matrix<TypeParam, 3, 3>::Ones();
  const attention_plan plan = plan_attention(X, X, X);
  EXPECT_EQ(plan.kernel, kernel::naive);
  EXPECT_NE(plan.reason.find("small"), std::string::npos);
  // Options decide, and so do sizes that only a run knows.
  EXPECT_EQ(plan_attention(X, X, X, options{.kernel = kernel::tiled}).kernel, kernel::tiled);
  const whole<TypeParam> x = X;
  EXPECT_NE(plan_attention(x, x, x).kernel, kernel::naive);
}

}  // namespace
}  // namespace softlook::small_test
