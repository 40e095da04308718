#include "softlook/layer/layer_norm.hpp"

#include <gtest/gtest.h>

#include "tests/support/errors.hpp"
#include "tests/support/layers.hpp"

namespace softlook::layer_norm_test {
namespace {

using namespace softlook_test;

constexpr index feature_counts[] = {1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 48, 64, 385};

template <class T>
class LayerNorm : public ::testing::Test {
 protected:
  generator random = seed(621);

  row_major<T> matrix(index rows, index cols, double magnitude = 1) {
    return random_matrix<row_major<T>>(rows, cols, random, magnitude);
  }
  row_vector<T> row(index cols) { return random_matrix<row_vector<T>>(1, cols, random); }

  static double smallest_deviation(const oracle::matrix& X, double epsilon) {
    oracle::real least = oracle::infinity;
    for (index i = 0; i < X.rows(); ++i)
      least = std::min(least, std::sqrt(oracle::variance_of_row(X, i) + oracle::real(T(epsilon))));
    return static_cast<double>(least);
  }

  static void expect_agreement(const row_major<T>& X, const row_vector<T>& gain,
                               const row_vector<T>& bias, double epsilon) {
    const oracle::matrix wide = oracle::widen(X);
    const oracle::matrix truth =
        oracle::layer_norm(wide, oracle::widen(gain), oracle::widen(bias), T(epsilon));
    const double bound = layer_norm_bound<T>(static_cast<double>(X.cols()), max_magnitude(X),
                                             smallest_deviation(wide, epsilon), max_magnitude(gain),
                                             max_magnitude(bias));
    const layer_norm<T> layer(gain, bias, epsilon);
    on_every_set([&](const options& opts) {
      EXPECT_LE(max_error(layer(X, opts), truth), bound)
          << X.rows() << "x" << X.cols() << " epsilon " << epsilon;
    });
  }
};
TYPED_TEST_SUITE(LayerNorm, scalars, scalar_names);

TYPED_TEST(LayerNorm, NormalisesEveryRow) {
  for (const index features : feature_counts)
    for (const double epsilon : {1e-5, 1e-12, 0.5})
      this->expect_agreement(this->matrix(9, features), this->row(features), this->row(features),
                             epsilon);
}

TYPED_TEST(LayerNorm, OfManyRowsIsSharedOutInBlocks) {
  for (const index rows : {1, 31, 32, 33, 65})
    this->expect_agreement(this->matrix(rows, 17), this->row(17), this->row(17), 1e-5);
}

TYPED_TEST(LayerNorm, WithoutABiasAddsNone) {
  using T = TypeParam;
  const auto X = this->matrix(9, 17);
  const auto gain = this->row(17);
  this->expect_agreement(X, gain, row_vector<T>(), 1e-5);
  const auto expected = layer_norm<T>(gain, row_vector<T>::Zero(17).eval())(X);
  EXPECT_TRUE(bitwise_equal(layer_norm<T>(gain, row_vector<T>())(X), expected));
  EXPECT_TRUE(bitwise_equal(layer_norm<T>(gain.transpose(), column<T>())(X), expected));
}

TYPED_TEST(LayerNorm, KeepsItsAccuracyBesideALargeMean) {
  using T = TypeParam;
  for (const index features : {5, 64, 385})
    for (const double mean : {1e4, -1e4}) {
      const row_major<T> X = this->matrix(9, features).array() + T(mean);
      this->expect_agreement(X, row_vector<T>::Ones(features), row_vector<T>(), 1e-5);
    }
}

TYPED_TEST(LayerNorm, OfNumbersOfAnySizeIsThatOfTheirShape) {
  using T = TypeParam;
  const row_vector<T> gain = this->row(33);
  for (const double size : {1e-3, 1e3, 1e12}) {
    const auto X = this->matrix(9, 33, size);
    this->expect_agreement(X, gain, row_vector<T>(), 1e-5);
    this->expect_agreement(X, gain, row_vector<T>(), 0);
  }
}

TYPED_TEST(LayerNorm, OfConstantRowsIsTheBias) {
  using T = TypeParam;
  for (const index features : feature_counts) {
    const row_vector<T> gain = this->row(features), bias = this->row(features);
    for (const double value : {0.0, 3.0, -0.1}) {
      const row_major<T> X = row_major<T>::Constant(4, features, T(value));
      this->expect_agreement(X, gain, bias, 1e-5);
    }
    const row_major<T> zeros = row_major<T>::Zero(4, features);
    EXPECT_TRUE(bitwise_equal(layer_norm<T>(gain, bias)(zeros), bias.replicate(4, 1).eval()));
  }
}

TYPED_TEST(LayerNorm, WithoutEpsilonDividesByTheDeviationAlone) {
  using T = TypeParam;
  for (const index features : {2, 3, 17, 64})
    this->expect_agreement(this->matrix(9, features), this->row(features), this->row(features), 0);
  // A constant row has no deviation: 0/0, in that row only.
  row_major<T> X = this->matrix(5, 16);
  const layer_norm<T> layer(this->row(16), this->row(16), 0);
  on_every_set([&](const options& opts) {
    const row_major<T> clean = layer(X, opts);
    row_major<T> with_constant = X;
    with_constant.row(3).setConstant(T(2));
    row_major<T> Y = layer(with_constant, opts);
    EXPECT_TRUE(row_is_nan(Y, 3));
    Y.row(3) = clean.row(3);
    EXPECT_TRUE(bitwise_equal(Y, clean));
  });
}

TYPED_TEST(LayerNorm, NanAndInfinityMakeNanOfExactlyTheirRow) {
  using T = TypeParam;
  const auto X = this->matrix(35, 17);
  const layer_norm<T> layer(this->row(17), this->row(17));
  on_every_set([&](const options& opts) {
    const row_major<T> clean = layer(X, opts);
    for (const T poison : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity(),
                           -std::numeric_limits<T>::infinity()})
      for (const index poisoned : {0, 7, 31, 32, 34}) {
        row_major<T> broken = X;
        broken(poisoned, 16) = poison;
        row_major<T> Y = layer(broken, opts);
        EXPECT_TRUE(row_is_nan(Y, poisoned)) << poison << " " << poisoned;
        Y.row(poisoned) = clean.row(poisoned);
        EXPECT_TRUE(bitwise_equal(Y, clean)) << poison << " " << poisoned;
      }
  });
}

TYPED_TEST(LayerNorm, HasTheSameBitsInAnyStorage) {
  using T = TypeParam;
  for (const index features : {1, 17, 64}) {
    const auto X = this->matrix(35, features);
    const layer_norm<T> layer(this->row(features), this->row(features));
    on_every_set([&](const options& opts) {
      const row_major<T> expected = layer(X, opts);
      expect_bits_in_any_storage(X, expected,
                                 [&](const auto& x, auto&& y) { layer.into(x, y, opts); });
    });
  }
}

TYPED_TEST(LayerNorm, HasTheSameBitsOnAnyExecutorAndForRowsInSeveralCalls) {
  using T = TypeParam;
  const auto X = this->matrix(200, 33);
  const layer_norm<T> layer(this->row(33), this->row(33));
  on_every_set([&](const options& opts) {
    const row_major<T> alone = layer(X, opts);
    on_other_executors([&](const auto& executor, const char* name) {
      EXPECT_TRUE(bitwise_equal(layer(X, opts, executor), alone)) << name;
    });
    for (const index first : {0, 1, 31, 32, 33, 150})
      for (const index rows : {1, 2, 33})
        EXPECT_TRUE(
            bitwise_equal(layer(X.middleRows(first, rows), opts), alone.middleRows(first, rows)));
  });
}

TYPED_TEST(LayerNorm, GivesEveryWorkerARowOfItsOwn) {
  using T = TypeParam;
  // Enough work for threads to meet.
  const auto X = this->matrix(4000, 385);
  const layer_norm<T> layer(this->row(385), this->row(385));
  const row_major<T> alone = layer(X);
  const exec::thread_pool pool(4);
  for (int round = 0; round < 5; ++round) EXPECT_TRUE(bitwise_equal(layer(X, pool), alone));
}

TYPED_TEST(LayerNorm, WorksInPlace) {
  using T = TypeParam;
  const auto X = this->matrix(70, 33);
  const layer_norm<T> layer(this->row(33), this->row(33));
  const exec::thread_pool pool(3);
  on_every_set([&](const options& opts) {
    const row_major<T> expected = layer(X, opts);
    row_major<T> rows = X;
    layer.into(rows, rows, opts);
    EXPECT_TRUE(bitwise_equal(rows, expected));
    col_major<T> columns = X;
    layer.into(columns, columns, opts, pool);
    EXPECT_TRUE(bitwise_equal(columns, expected));
    strided_copy<T> strided(X);
    auto map = strided.map();
    layer.into(map, map, opts);
    EXPECT_TRUE(bitwise_equal(map, expected));
    EXPECT_TRUE(strided.gaps_are_nan());
  });
}

TYPED_TEST(LayerNorm, RejectsPartialOverlap) {
  using T = TypeParam;
  const layer_norm<T> layer(this->row(5), this->row(5));
  auto all = this->matrix(12, 12);
  const row_major<T> untouched = all;
  const std::initializer_list<const char*> pieces = {"layer_norm", "Y overlaps X"};
  expect_error<argument_error>([&] { layer.into(all.block(0, 0, 4, 5), all.block(1, 0, 4, 5)); },
                               pieces);
  expect_error<argument_error>([&] { layer.into(all.block(0, 0, 4, 5), all.block(0, 1, 4, 5)); },
                               pieces);
  expect_error<argument_error>(
      [&] { layer.into(all.block(0, 0, 5, 5), all.block(0, 0, 5, 5).transpose()); }, pieces);
  EXPECT_TRUE(bitwise_equal(all, untouched));
  layer.into(all.leftCols(5), all.middleCols(5, 5));
  EXPECT_TRUE(bitwise_equal(all.middleCols(5, 5), layer(untouched.leftCols(5))));
}

TYPED_TEST(LayerNorm, EdgeSizes) {
  using T = TypeParam;
  const layer_norm<T> none;
  EXPECT_EQ(none.features(), 0);
  EXPECT_EQ(none(row_major<T>(4, 0)).rows(), 4);
  const layer_norm<T> layer(this->row(5), this->row(5));
  EXPECT_EQ(layer.features(), 5);
  const exec::thread_pool pool(3);
  on_every_set([&](const options& opts) {
    EXPECT_EQ(layer(row_major<T>(0, 5), opts).cols(), 5);
    EXPECT_EQ(layer(row_major<T>(0, 5), opts, pool).rows(), 0);
  });
  static_assert(decltype(layer(row_major<T>(1, 5)))::IsRowMajor);
  static_assert(!decltype(layer(col_major<T>(1, 5)))::IsRowMajor);
}

TYPED_TEST(LayerNorm, AWorkspaceChangesNothing) {
  using T = TypeParam;
  const auto X = this->matrix(70, 33);
  const layer_norm<T> layer(this->row(33), this->row(33));
  const row_major<T> expected = layer(X);
  workspace space;
  options opts;
  opts.workspace = &space;
  const exec::thread_pool pool(3);
  for (int call = 0; call < 3; ++call) {
    EXPECT_TRUE(bitwise_equal(layer(X, opts), expected));
    EXPECT_TRUE(bitwise_equal(layer(X, pool, opts), expected));
  }
}

TYPED_TEST(LayerNorm, RejectsWhatDoesNotFit) {
  using T = TypeParam;
  const row_vector<T> five = this->row(5), six = this->row(6);
  expect_error<shape_error>([&] { (void)layer_norm<T>(five, six); },
                            {"layer_norm", "bias.size() is 6", "gain.size() is 5"});
  const auto square = this->matrix(2, 3);
  expect_error<shape_error>([&] { (void)layer_norm<T>(square, six); }, {"gain.size()", "vector"});
  const layer_norm<T> layer(five, five);
  const auto X = this->matrix(3, 5), wide = this->matrix(3, 6);
  row_major<T> Y = row_major<T>::Constant(3, 5, T(42)), longer = row_major<T>::Zero(4, 5),
               wider = row_major<T>::Zero(3, 6);
  expect_error<shape_error>([&] { (void)layer(wide); },
                            {"layer_norm", "X.cols() is 6", "features() is 5"});
  expect_error<shape_error>([&] { layer.into(wide, Y); }, {"X.cols() is 6", "features() is 5"});
  expect_error<shape_error>([&] { layer.into(X, longer); }, {"Y.rows() is 4", "X.rows() is 3"});
  expect_error<shape_error>([&] { layer.into(X, wider); }, {"Y.cols() is 6", "features() is 5"});
  EXPECT_TRUE((Y.array() == T(42)).all());
  EXPECT_TRUE(longer.isZero(0));
  EXPECT_TRUE(wider.isZero(0));
}

TYPED_TEST(LayerNorm, RejectsAnEpsilonThatIsNoPositiveNumber) {
  using T = TypeParam;
  const row_vector<T> gain = this->row(5);
  const auto with = [&](double epsilon) { (void)layer_norm<T>(gain, gain, epsilon); };
  expect_error<argument_error>([&] { with(-1e-5); }, {"layer_norm", "epsilon is -1e-05"});
  expect_error<argument_error>([&] { with(std::nan("")); }, {"epsilon is", "nan"});
  expect_error<argument_error>([&] { with(std::numeric_limits<double>::infinity()); },
                               {"epsilon is inf"});
}

}  // namespace
}  // namespace softlook::layer_norm_test
