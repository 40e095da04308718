// Any dense Eigen expression goes in, a dynamic matrix in Q's storage order comes out.
#include <gtest/gtest.h>

#include <type_traits>

#include "tests/support/agreement.hpp"
#include "tests/support/random.hpp"

namespace softlook::expressions_test {
namespace {

using namespace softlook_test;

template <class T>
class AttentionExpressions : public ::testing::Test {
 protected:
  problem_inputs<T> p =
      random_problem<T>({.queries = 12, .keys = 17, .features = 8, .values = 4}, seed(101));
  row_major<T> plain = attention(p.Q, p.K, p.V);
};
TYPED_TEST_SUITE(AttentionExpressions, scalars, scalar_names);

TYPED_TEST(AttentionExpressions, ResultHasTheStorageOrderOfTheQueries) {
  using T = TypeParam;
  const col_major<T> Q = this->p.Q;
  static_assert(std::is_same_v<decltype(attention(Q, this->p.K, this->p.V)), col_major<T>>);
  static_assert(std::is_same_v<decltype(attention(this->p.Q, Q, this->p.V)), row_major<T>>);
  static_assert(
      std::is_same_v<decltype(attention(Q.transpose(), this->p.K, this->p.V)), row_major<T>>);
  static_assert(
      std::is_same_v<decltype(attention(Q.topRows(2), this->p.K, this->p.V)), col_major<T>>);
}

TYPED_TEST(AttentionExpressions, FixedSizeMatrices) {
  using T = TypeParam;
  const Eigen::Matrix<T, 12, 8> Q = this->p.Q;
  const Eigen::Matrix<T, 17, 8, Eigen::RowMajor> K = this->p.K;
  const Eigen::Matrix<T, 17, 4> V = this->p.V;
  EXPECT_TRUE(bitwise_equal(attention(Q, K, V), this->plain));
}

TYPED_TEST(AttentionExpressions, OneRowVectorIsOneQuery) {
  using T = TypeParam;
  const Eigen::Matrix<T, 1, Eigen::Dynamic> q = this->p.Q.row(3);
  const Eigen::Matrix<T, 1, 8> fixed = q;
  options tiled = with_kernel(kernel::tiled);
  const auto whole = attention(this->p.Q, this->p.K, this->p.V, tiled);
  EXPECT_TRUE(bitwise_equal(attention(q, this->p.K, this->p.V, tiled), whole.row(3)));
  EXPECT_TRUE(bitwise_equal(attention(fixed, this->p.K, this->p.V, tiled), whole.row(3)));
  EXPECT_TRUE(
      bitwise_equal(attention(this->p.Q.row(3), this->p.K, this->p.V, tiled), whole.row(3)));
}

TYPED_TEST(AttentionExpressions, UnevaluatedExpressions) {
  using T = TypeParam;
  auto random = seed(102);
  const auto X = random_matrix<row_major<T>>(12, 6, random);
  const auto W = random_matrix<col_major<T>>(6, 8, random);
  const row_major<T> product = X * W;
  const row_major<T> sum = this->p.K + this->p.K;
  const row_major<T> scaled = T(2) * this->p.V;
  EXPECT_TRUE(bitwise_equal(attention(X * W, this->p.K + this->p.K, T(2) * this->p.V),
                            attention(product, sum, scaled)));
  EXPECT_TRUE(
      bitwise_equal(attention(row_major<T>::Ones(3, 8), this->p.K, this->p.V),
                    attention(row_major<T>(row_major<T>::Ones(3, 8)), this->p.K, this->p.V)));
}

TYPED_TEST(AttentionExpressions, ArraysAsMatrices) {
  EXPECT_TRUE(bitwise_equal(
      attention(this->p.Q.array().matrix(), this->p.K.array().abs2().matrix(), this->p.V),
      attention(this->p.Q, row_major<TypeParam>(this->p.K.array().abs2()), this->p.V)));
}

TYPED_TEST(AttentionExpressions, ReversedAndTransposedViews) {
  using T = TypeParam;
  const row_major<T> upside_down = this->p.K.colwise().reverse();
  EXPECT_TRUE(bitwise_equal(attention(this->p.Q, this->p.K.colwise().reverse(), this->p.V),
                            attention(this->p.Q, upside_down, this->p.V)));
  const row_major<T> turned = this->p.Q.transpose();
  EXPECT_TRUE(bitwise_equal(attention(turned.transpose(), this->p.K, this->p.V), this->plain));
}

TYPED_TEST(AttentionExpressions, ConstMapsAndRefs) {
  using T = TypeParam;
  const Eigen::Map<const row_major<T>> Q(this->p.Q.data(), 12, 8);
  const Eigen::Ref<const row_major<T>> K = this->p.K;
  EXPECT_TRUE(bitwise_equal(attention(Q, K, this->p.V), this->plain));
}

TYPED_TEST(AttentionExpressions, TheSameMatrixThreeTimes) {
  const auto& X = this->p.Q;
  const row_major<TypeParam> copy = X;
  EXPECT_TRUE(bitwise_equal(attention(X, X, X), attention(X, copy, copy)));
}

TYPED_TEST(AttentionExpressions, OutputIntoRefsAndFixedSizes) {
  using T = TypeParam;
  Eigen::Matrix<T, 12, 4> fixed;
  attention_into(this->p.Q, this->p.K, this->p.V, fixed);
  EXPECT_TRUE(bitwise_equal(fixed, this->plain));
  row_major<T> output(12, 4);
  Eigen::Ref<row_major<T>> reference = output;
  attention_into(this->p.Q, this->p.K, this->p.V, reference);
  EXPECT_TRUE(bitwise_equal(output, this->plain));
  col_major<T> turned(4, 12);
  attention_into(this->p.Q, this->p.K, this->p.V, turned.transpose());
  EXPECT_TRUE(bitwise_equal(turned.transpose(), this->plain));
}

}  // namespace
}  // namespace softlook::expressions_test
