#include "softlook/attention/decomposable.hpp"

#include "softlook/exec/thread_pool.hpp"
#include "tests/oracle/numbers.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/ways.hpp"

namespace softlook::decomposable_test {
namespace {

using namespace softlook_test;
using oracle::real;

/// Parikh et al., 2016, Eq. (2) for one direction: weights over the first `length` rows of `other`.
oracle::matrix weights_over(const oracle::matrix& one, const oracle::matrix& other, index length) {
  oracle::matrix P = oracle::matrix::Zero(one.rows(), other.rows());
  for (index i = 0; i < one.rows(); ++i) {
    real largest = -oracle::infinity, sum = 0;
    for (index j = 0; j < length; ++j)
      largest = std::max(largest, oracle::inner_product(one, i, other, j));
    for (index j = 0; j < length; ++j)
      sum += P(i, j) = std::exp(oracle::inner_product(one, i, other, j) - largest);
    for (index j = 0; j < length; ++j) P(i, j) /= sum;
  }
  return P;
}

template <class T>
class SoftAlign : public ::testing::Test {
 protected:
  static constexpr index n = 23, m = 70, d = 5, e = 4, h = 6;
  generator random = seed(81);
  row_major<T> A = random_matrix<row_major<T>>(n, d, random);
  col_major<T> B = random_matrix<col_major<T>>(m, e, random);
  row_major<T> FA = random_matrix<row_major<T>>(n, h, random);
  col_major<T> FB = random_matrix<col_major<T>>(m, h, random);

  double bound() const {
    const double scores = h * max_magnitude(FA) * max_magnitude(FB);
    return attention_bound<T>(m, h, scores, std::max(max_magnitude(A), max_magnitude(B)));
  }
};
TYPED_TEST_SUITE(SoftAlign, scalars, scalar_names);

TYPED_TEST(SoftAlign, MixesEachSentenceForTheOtherOnEveryWay) {
  const oracle::matrix fa = oracle::widen(this->FA), fb = oracle::widen(this->FB);
  for (const sentence_lengths& lengths :
       {sentence_lengths{}, sentence_lengths{.a = 20, .b = 65}, sentence_lengths{.b = 1}}) {
    const auto P = weights_over(fa, fb, lengths.b.value_or(this->m));
    const auto R = weights_over(fb, fa, lengths.a.value_or(this->n));
    for (const way& w : every_way()) {
      const auto found = soft_align(this->A, this->B, this->FA, this->FB, lengths, w.opts);
      EXPECT_LE(max_error(found.beta, oracle::product(P, oracle::widen(this->B))), this->bound())
          << w;
      EXPECT_LE(max_error(found.alpha, oracle::product(R, oracle::widen(this->A))), this->bound())
          << w;
    }
    const auto weights = soft_align_weights(this->FA, this->FB, lengths);
    EXPECT_LE(max_error(weights.beta, P), this->bound());
    EXPECT_LE(max_error(weights.alpha, R), this->bound());
  }
}

TYPED_TEST(SoftAlign, TurnsAroundWhenTheSentencesChangePlaces) {
  const auto there = soft_align(this->A, this->B, this->FA, this->FB, {.a = 9});
  const auto back = soft_align(this->B, this->A, this->FB, this->FA, {.b = 9});
  EXPECT_TRUE(bitwise_equal(there.beta, back.alpha));
  EXPECT_TRUE(bitwise_equal(there.alpha, back.beta));
}

TYPED_TEST(SoftAlign, IsTheSameOnAThreadPool) {
  exec::thread_pool pool(3);
  const auto alone = soft_align(this->A, this->B, this->FA, this->FB);
  const auto together = soft_align(this->A, this->B, this->FA, this->FB, {}, pool);
  EXPECT_TRUE(bitwise_equal(alone.beta, together.beta));
  EXPECT_TRUE(bitwise_equal(alone.alpha, together.alpha));
}

TYPED_TEST(SoftAlign, FindsNothingInASentenceWithoutTokens) {
  const auto found = soft_align(this->A, this->B, this->FA, this->FB, {.b = 0});
  for (index i = 0; i < this->n; ++i) EXPECT_TRUE(row_is_zero(found.beta, i));
  const auto none = soft_align(this->A.topRows(0), this->B, this->FA.topRows(0), this->FB);
  EXPECT_EQ(none.beta.rows(), 0);
  for (index j = 0; j < this->m; ++j) EXPECT_TRUE(row_is_zero(none.alpha, j));
}

TYPED_TEST(SoftAlign, LetsNoPaddingThrough) {
  const auto clean = soft_align(this->A, this->B, this->FA, this->FB, {.a = 20, .b = 60});
  this->A.bottomRows(3).setConstant(std::numeric_limits<TypeParam>::quiet_NaN());
  this->B.bottomRows(10).setConstant(std::numeric_limits<TypeParam>::infinity());
  const auto found = soft_align(this->A, this->B, this->FA, this->FB, {.a = 20, .b = 60});
  EXPECT_TRUE(bitwise_equal(found.beta, clean.beta));
  EXPECT_TRUE(bitwise_equal(found.alpha, clean.alpha));
}

TYPED_TEST(SoftAlign, RejectsWhatDoesNotFit) {
  expect_error<shape_error>(
      [&] { (void)soft_align(this->A, this->B, this->FA.topRows(4), this->FB); },
      {"soft_align", "FA.rows() is 4", "A.rows() is 23"});
  expect_error<shape_error>(
      [&] { (void)soft_align(this->A, this->B, this->FA, this->FB.topRows(4)); },
      {"FB.rows() is 4", "B.rows() is 70"});
  expect_error<shape_error>(
      [&] { (void)soft_align(this->A, this->B, this->FA, this->FB.leftCols(3)); },
      {"FB.cols() is 3", "FA.cols() is 6"});
  expect_error<argument_error>(
      [&] { (void)soft_align(this->A, this->B, this->FA, this->FB, {.a = 24}); },
      {"lengths.a is 24", "23"});
  expect_error<argument_error>([&] { (void)soft_align_weights(this->FA, this->FB, {.b = -1}); },
                               {"lengths.b is -1", "70"});
}

template <class T>
class DecomposableAttention : public ::testing::Test {
 protected:
  static constexpr index n = 7, m = 9, d = 3, h = 4, c = 5, classes = 2;
  generator random = seed(82);
  row_major<T> A = random_matrix<row_major<T>>(n, d, random);
  row_major<T> B = random_matrix<row_major<T>>(m, d, random);
  row_major<T> WF = random_matrix<row_major<T>>(d, h, random);
  row_major<T> WG = random_matrix<row_major<T>>(2 * d, c, random);
  row_major<T> WH = random_matrix<row_major<T>>(2 * c, classes, random);

  static auto relu_of(const row_major<T>& W) {
    return [&W](const auto& X) -> row_major<T> { return (X * W).cwiseMax(T(0)); };
  }
  auto model() const {
    return decomposable_attention(relu_of(WF), relu_of(WG),
                                  [this](const auto& x) { return x * WH; });
  }
  static oracle::matrix relu(const oracle::matrix& X, const row_major<T>& W) {
    oracle::matrix Y = oracle::product(X, oracle::widen(W));
    for (index i = 0; i < Y.rows(); ++i)
      for (index j = 0; j < Y.cols(); ++j) Y(i, j) = std::max(Y(i, j), real(0));
    return Y;
  }
  /// Σ over the first `length` tokens of G([x, mixture]).
  static void add_compared(const oracle::matrix& X, const oracle::matrix& mixtures, index length,
                           const row_major<T>& W, oracle::matrix& sums, index at) {
    oracle::matrix both(X.rows(), 2 * d);
    both << X, mixtures;
    const oracle::matrix V = relu(both, W);
    for (index i = 0; i < length; ++i)
      for (index j = 0; j < c; ++j) sums(0, at + j) += V(i, j);
  }
  oracle::matrix truth(index a_tokens, index b_tokens) const {
    const oracle::matrix a = oracle::widen(A), b = oracle::widen(B);
    const oracle::matrix fa = relu(a, WF), fb = relu(b, WF);
    oracle::matrix sums = oracle::matrix::Zero(1, 2 * c);
    add_compared(a, oracle::product(weights_over(fa, fb, b_tokens), b), a_tokens, WG, sums, 0);
    add_compared(b, oracle::product(weights_over(fb, fa, a_tokens), a), b_tokens, WG, sums, c);
    return oracle::product(sums, oracle::widen(WH));
  }
  /// Three products and a sum over tokens behind an attention.
  double bound() const {
    const double x = std::max(max_magnitude(A), max_magnitude(B));
    const double f = d * x * max_magnitude(WF), g = 2 * d * x * max_magnitude(WG);
    const double of_attention = attention_bound<T>(m, h * d, h * f * f, x);
    const double of_compared =
        2 * d * max_magnitude(WG) * of_attention + dot_product_bound<T>(2 * d + n + m + 2 * c, g);
    return 2 * c * (n + m) * max_magnitude(WH) * of_compared;
  }
};
TYPED_TEST_SUITE(DecomposableAttention, scalars, scalar_names);

TYPED_TEST(DecomposableAttention, AttendsComparesAndAggregates) {
  const auto y = this->model()(this->A, this->B);
  ASSERT_EQ(y.rows(), 1);
  EXPECT_LE(max_error(y, this->truth(7, 9)), this->bound());
}

TYPED_TEST(DecomposableAttention, IgnoresPaddingInAllThreeSteps) {
  const auto truth = this->truth(4, 6);
  this->A.bottomRows(3).setConstant(TypeParam(1e6));
  this->B.bottomRows(3).setConstant(TypeParam(-1e6));
  const auto y = this->model()(this->A, this->B, {.a = 4, .b = 6});
  EXPECT_TRUE(bitwise_equal(y, this->model()(this->A.topRows(4), this->B.topRows(6))));
  this->A.bottomRows(3).setZero();
  this->B.bottomRows(3).setZero();
  EXPECT_LE(max_error(y, truth), this->bound());
}

TYPED_TEST(DecomposableAttention, IsItsThreeSteps) {
  const auto model = this->model();
  const auto compared = model.compare(this->A, this->B, model.attend(this->A, this->B));
  EXPECT_TRUE(
      bitwise_equal(model.aggregate(compared.first, compared.second), model(this->A, this->B)));
}

TYPED_TEST(DecomposableAttention, RejectsANetworkThatLosesTokens) {
  const decomposable_attention shrinks([](const auto& X) { return X; },
                                       [](const auto& X) { return X.topRows(1); },
                                       [](const auto& X) { return X; });
  expect_error<shape_error>([&] { (void)shrinks(this->A, this->B); },
                            {"decomposable_attention::compare", "is 1", "A.rows() is 7"});
  expect_error<argument_error>([&] { (void)this->model().aggregate(this->A, this->B, {.b = 10}); },
                               {"decomposable_attention::aggregate", "lengths.b is 10"});
}

}  // namespace
}  // namespace softlook::decomposable_test
