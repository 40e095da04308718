#include "examples/training/cross_entropy.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"

namespace cross_entropy_test {
namespace {

using examples::cross_entropy;
using examples::cross_entropy_options;
using softlook_test::col_major;
using softlook_test::expect_error;
using softlook_test::expect_gradient;
using softlook_test::generator;
using softlook_test::row_major;
using labels_of_rows = std::vector<std::int32_t>;

template <class Matrix>
Matrix random_logits(Eigen::Index n, Eigen::Index classes, std::uint64_t seed) {
  generator random(seed);
  Matrix m(n, classes);
  for (Eigen::Index i = 0; i < n; ++i)
    for (Eigen::Index j = 0; j < classes; ++j)
      m(i, j) = typename Matrix::Scalar(random.uniform(-3, 3));
  return m;
}

/// The formula, term by term.
template <class Matrix>
long double oracle(const Matrix& logits, const labels_of_rows& labels,
                   const cross_entropy_options& o) {
  long double loss = 0;
  int counted = 0;
  const auto classes = static_cast<long double>(logits.cols());
  for (Eigen::Index i = 0; i < logits.rows(); ++i) {
    const auto label = labels[std::size_t(i)];
    if (label == o.ignored) continue;
    ++counted;
    long double sum = 0;
    for (Eigen::Index c = 0; c < logits.cols(); ++c)
      sum += std::exp(static_cast<long double>(logits(i, c)));
    for (Eigen::Index c = 0; c < logits.cols(); ++c) {
      const long double target = (c == label ? 1 - o.smoothing : 0.0L) + o.smoothing / classes;
      loss -= target * (static_cast<long double>(logits(i, c)) - std::log(sum));
    }
  }
  return counted > 0 ? loss / counted : 0;
}

TEST(CrossEntropy, IsItsFormula) {
  const labels_of_rows labels = {0, 3, -1, 2, 2};
  for (const double smoothing : {0.0, 0.1, 0.9}) {
    const cross_entropy_options o{.smoothing = smoothing};
    const auto d = random_logits<row_major<double>>(5, 4, 1);
    const auto of_double = cross_entropy(d, labels, o);
    EXPECT_NEAR(of_double.loss, double(oracle(d, labels, o)), 1e-14);
    EXPECT_EQ(of_double.counted, 4);
    const auto f = random_logits<col_major<float>>(5, 4, 1);
    row_major<float> gradient;
    EXPECT_NEAR(cross_entropy(f, labels, &gradient, o).loss, double(oracle(f, labels, o)), 1e-6);
  }
}

TEST(CrossEntropy, GradientIsThatOfTheLoss) {
  const labels_of_rows labels = {1, 7, 0, 7, 2};
  for (const cross_entropy_options o :
       {cross_entropy_options{}, cross_entropy_options{.smoothing = 0.2, .ignored = 7}}) {
    auto logits = random_logits<row_major<double>>(5, 8, 2);
    row_major<double> gradient;
    cross_entropy(logits, labels, &gradient, o);
    expect_gradient(
        "logits", logits, gradient, [&] { return cross_entropy(logits, labels, o).loss; }, 1e-8);
    EXPECT_LE(gradient.rowwise().sum().cwiseAbs().maxCoeff(), 1e-15);
  }
}

TEST(CrossEntropy, IgnoredRowsAreNotRead) {
  auto logits = random_logits<row_major<float>>(3, 4, 3);
  const labels_of_rows labels = {1, -1, 2};
  row_major<float> all, gradient;
  const double before = cross_entropy(logits, labels, &all).loss;
  logits.row(1).setConstant(std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(cross_entropy(logits, labels, &gradient).loss, before);
  EXPECT_EQ(gradient, all);
  EXPECT_EQ(gradient.row(1), row_major<float>::Zero(1, 4));

  const auto none = cross_entropy(logits, labels_of_rows{-1, -1, -1}, &gradient);
  EXPECT_EQ(none.loss, 0);
  EXPECT_EQ(none.counted, 0);
  EXPECT_EQ(gradient, (row_major<float>::Zero(3, 4)));
  const row_major<float> empty(0, 4);
  EXPECT_EQ(cross_entropy(empty, labels_of_rows{}, &gradient).loss, 0);
  EXPECT_EQ(gradient.rows(), 0);
}

TEST(CrossEntropy, CountsWhatIsRight) {
  row_major<float> logits(4, 3);
  logits << 1, 2, 3, 3, 2, 1, 0, 9, 0, 5, 1, 1;
  const auto r = cross_entropy(logits, labels_of_rows{2, 0, 0, -1});
  EXPECT_EQ(r.correct, 2);
  EXPECT_EQ(r.counted, 3);
}

TEST(CrossEntropy, LargeLogitsDoNotOverflow) {
  row_major<float> logits(2, 3), gradient;
  logits << 1e30f, -1e30f, 0, 100, -100, -std::numeric_limits<float>::infinity();
  const auto r = cross_entropy(logits, labels_of_rows{0, 1}, &gradient);
  EXPECT_NEAR(r.loss, 100, 1e-4);
  EXPECT_TRUE(gradient.allFinite());
  EXPECT_NEAR(gradient(1, 0), 0.5, 1e-6);
  EXPECT_NEAR(gradient(1, 1), -0.5, 1e-6);
}

TEST(CrossEntropy, NaNStaysInItsRow) {
  row_major<float> logits(2, 2), gradient;
  logits << 1, std::numeric_limits<float>::quiet_NaN(), 1, 2;
  EXPECT_TRUE(std::isnan(cross_entropy(logits, labels_of_rows{0, 1}, &gradient).loss));
  EXPECT_TRUE(gradient.row(0).array().isNaN().all());
  EXPECT_TRUE(gradient.row(1).allFinite());
}

TEST(CrossEntropy, RefusesWhatIsNoClass) {
  const auto logits = random_logits<row_major<float>>(2, 3, 4);
  row_major<float> gradient = row_major<float>::Constant(1, 1, 42);
  const auto with = [&](const labels_of_rows& labels, const cross_entropy_options& o) {
    return [&, labels, o] { cross_entropy(logits, labels, &gradient, o); };
  };
  expect_error<softlook::shape_error>(with({1}, {}), {"labels.size() is 1", "logits.rows() is 2"});
  expect_error<softlook::argument_error>(with({1, 3}, {}), {"cross_entropy: a label is 3"});
  expect_error<softlook::argument_error>(with({1, -2}, {}), {"a label is -2"});
  expect_error<softlook::argument_error>(with({1, 2}, {.smoothing = 1}), {"smoothing is 1"});
  EXPECT_EQ(gradient(0, 0), 42);
}

}  // namespace
}  // namespace cross_entropy_test
