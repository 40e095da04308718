#include "softlook/layer/rms_norm.hpp"

#include <gtest/gtest.h>

#include "softlook/layer/layer_norm.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/layers.hpp"

namespace softlook::rms_norm_test {
namespace {

using namespace softlook_test;

constexpr index feature_counts[] = {1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 48, 64, 385};

template <class T>
class RmsNorm : public ::testing::Test {
 protected:
  generator random = seed(3001);

  row_major<T> matrix(index rows, index cols, double magnitude = 1) {
    return random_matrix<row_major<T>>(rows, cols, random, magnitude);
  }
  row_vector<T> row(index cols) { return random_matrix<row_vector<T>>(1, cols, random); }

  static void expect_agreement(const row_major<T>& X, const row_vector<T>& gain, double epsilon) {
    const oracle::matrix truth =
        oracle::rms_norm(oracle::widen(X), oracle::widen(gain), T(epsilon));
    const double bound = rms_norm_bound<T>(double(X.cols()), max_magnitude(gain));
    const rms_norm<T> layer(gain, epsilon);
    on_every_set([&](const options& opts) {
      const row_major<T> Y = layer(X, opts);
      ASSERT_TRUE(Y.allFinite());
      EXPECT_LE(max_error(Y, truth), bound)
          << X.rows() << "x" << X.cols() << " epsilon " << epsilon;
    });
  }
};
TYPED_TEST_SUITE(RmsNorm, scalars, scalar_names);

TYPED_TEST(RmsNorm, NormalisesEveryRow) {
  for (const index features : feature_counts)
    for (const double epsilon : {1e-5, 1e-12, 0.5})
      for (const index rows : {1, 9, 33})
        this->expect_agreement(this->matrix(rows, features), this->row(features), epsilon);
}

TYPED_TEST(RmsNorm, IsNotCentred) {
  using T = TypeParam;
  const row_major<T> X = row_major<T>::Constant(3, 17, T(-2));
  EXPECT_LE(max_error(rms_norm<T>(row_vector<T>::Ones(17), 0)(X),
                      oracle::matrix(oracle::matrix::Constant(3, 17, -1))),
            rms_norm_bound<T>(17, 1));
  // Where the mean is 0, both norms agree.
  row_major<T> Y = this->matrix(5, 16);
  Y.rightCols(8) = -Y.leftCols(8);
  const row_vector<T> gain = this->row(16);
  EXPECT_LE(max_error(rms_norm<T>(gain)(Y), oracle::widen(layer_norm<T>(gain, row_vector<T>())(Y))),
            2 * rms_norm_bound<T>(16, 1));
}

TYPED_TEST(RmsNorm, OfNumbersOfAnySizeIsThatOfTheirShape) {
  for (const double size : {1e-3, 1e3, 1e12})
    this->expect_agreement(this->matrix(9, 33, size), this->row(33), 0);
}

TYPED_TEST(RmsNorm, OfZerosIsZeroUnlessEpsilonIsToo) {
  using T = TypeParam;
  const row_major<T> zeros = row_major<T>::Zero(4, 17);
  on_every_set([&](const options& opts) {
    EXPECT_TRUE(rms_norm<T>(this->row(17))(zeros, opts).isZero(0));
    EXPECT_TRUE(rms_norm<T>(row_vector<T>::Ones(17), 0)(zeros, opts).array().isNaN().all());
  });
}

TYPED_TEST(RmsNorm, NanAndInfinityStayInTheirRow) {
  using T = TypeParam;
  const auto X = this->matrix(35, 17);
  const rms_norm<T> layer(this->row(17));
  on_every_set([&](const options& opts) {
    const row_major<T> clean = layer(X, opts);
    for (const T poison :
         {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
      row_major<T> broken = X;
      broken(32, 16) = poison;
      row_major<T> Y = layer(broken, opts);
      EXPECT_TRUE(std::isnan(Y(32, 16)));
      Y.row(32) = clean.row(32);
      EXPECT_TRUE(bitwise_equal(Y, clean));
    }
  });
}

TYPED_TEST(RmsNorm, HasTheSameBitsInAnyStorageInPlaceAndOnAnyExecutor) {
  using T = TypeParam;
  const auto X = this->matrix(200, 33);
  const rms_norm<T> layer(this->row(33));
  on_every_set([&](const options& opts) {
    const row_major<T> expected = layer(X, opts);
    expect_bits_in_any_storage(X, expected,
                               [&](const auto& x, auto&& y) { layer.into(x, y, opts); });
    row_major<T> rows = X;
    layer.into(rows, rows, opts);
    EXPECT_TRUE(bitwise_equal(rows, expected));
    on_other_executors([&](const auto& executor, const char* name) {
      EXPECT_TRUE(bitwise_equal(layer(X, opts, executor), expected)) << name;
    });
    EXPECT_TRUE(bitwise_equal(layer(X.middleRows(31, 33), opts), expected.middleRows(31, 33)));
  });
}

TYPED_TEST(RmsNorm, RejectsWhatDoesNotFit) {
  using T = TypeParam;
  const row_vector<T> five = this->row(5);
  const row_major<T> square = this->matrix(2, 3);
  expect_error<shape_error>([&] { (void)rms_norm<T>(square); }, {"rms_norm", "gain.size()"});
  expect_error<argument_error>([&] { (void)rms_norm<T>(five, -1e-5); },
                               {"rms_norm", "epsilon is -1e-05"});
  const rms_norm<T> layer(five);
  expect_error<shape_error>([&] { (void)layer(this->matrix(2, 6)); },
                            {"rms_norm", "X.cols() is 6", "features() is 5"});
  auto all = this->matrix(8, 8);
  expect_error<argument_error>([&] { layer.into(all.block(0, 0, 4, 5), all.block(1, 0, 4, 5)); },
                               {"rms_norm", "Y overlaps X"});
  EXPECT_EQ(rms_norm<T>().features(), 0);
  EXPECT_EQ(layer(row_major<T>(0, 5)).cols(), 5);
}

}  // namespace
}  // namespace softlook::rms_norm_test
