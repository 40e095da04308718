#include "softlook/layer/linear_layer.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "tests/support/errors.hpp"
#include "tests/support/layers.hpp"

namespace softlook::linear_layer_test {
namespace {

using namespace softlook_test;

// Around register tiles of rows, of lanes and of panels, on every set.
constexpr index row_counts[] = {1, 2, 4, 5, 7, 8, 9, 16, 17};
constexpr index input_counts[] = {0, 1, 5, 64, 385};
constexpr index output_counts[] = {1, 15, 16, 17, 47, 48, 49, 96, 100};
constexpr activation activations[] = {activation::none, activation::relu, activation::gelu,
                                      activation::gelu_tanh, activation::silu};

template <class T>
double largest_sum(const oracle::matrix& X, const oracle::matrix& W, const row_vector<T>& b) {
  const oracle::matrix sums = oracle::product(X.cwiseAbs(), W.cwiseAbs());
  return max_magnitude(sums) + max_magnitude(b);
}

template <class T>
class LinearLayer : public ::testing::Test {
 protected:
  generator random = seed(601);

  row_major<T> matrix(index rows, index cols) {
    return random_matrix<row_major<T>>(rows, cols, random);
  }
  row_vector<T> row(index cols) { return random_matrix<row_vector<T>>(1, cols, random); }

  /// Every row count of X on every set.
  static void expect_agreement(const row_major<T>& X, const row_major<T>& W, const row_vector<T>& b,
                               activation f) {
    const linear_layer<T> layer(W, b, f);
    const oracle::matrix wide_X = oracle::widen(X), wide_W = oracle::widen(W);
    const oracle::matrix truth = oracle::linear(wide_X, wide_W, oracle::widen(b), f);
    const auto inputs = static_cast<double>(W.rows());
    const double bound =
        steepest_activation * linear_bound<T>(inputs, largest_sum(wide_X, wide_W, b)) +
        gelu_bound<T>(-1) * max_magnitude(truth);
    on_every_set([&](const options& opts) {
      for (const index rows : row_counts) {
        const row_major<T> Y = layer(X.topRows(rows), opts);
        EXPECT_LE(max_error(Y, truth.topRows(rows)), bound)
            << rows << "x" << W.rows() << "x" << W.cols() << " " << name_of(f);
      }
    });
  }
};
TYPED_TEST_SUITE(LinearLayer, scalars, scalar_names);

TYPED_TEST(LinearLayer, IsALinearMapOfAnyShape) {
  for (const index inputs : input_counts)
    for (const index outputs : output_counts)
      this->expect_agreement(this->matrix(17, inputs), this->matrix(inputs, outputs),
                             this->row(outputs), activation::none);
}

TYPED_TEST(LinearLayer, AppliesItsActivationAfterTheBias) {
  for (const activation f : activations)
    for (const index inputs : {0, 5, 64})
      for (const index outputs : {1, 17, 48, 100})
        this->expect_agreement(this->matrix(17, inputs), this->matrix(inputs, outputs),
                               this->row(outputs), f);
}

TYPED_TEST(LinearLayer, WithoutABiasIsTheProductAlone) {
  using T = TypeParam;
  const auto X = this->matrix(9, 64), W = this->matrix(64, 50);
  this->expect_agreement(this->matrix(17, 64), W, row_vector<T>(), activation::none);
  for (const activation f : activations) {
    const row_major<T> alone = linear_layer<T>(W, f)(X);
    EXPECT_TRUE(bitwise_equal(linear_layer<T>(W, row_vector<T>(), f)(X), alone));
    EXPECT_TRUE(bitwise_equal(linear_layer<T>(W, column<T>(), f)(X), alone));
  }
}

TYPED_TEST(LinearLayer, TakesABiasOfEitherOrientation) {
  using T = TypeParam;
  const auto X = this->matrix(9, 5), W = this->matrix(5, 50), wide = this->matrix(50, 4);
  const row_vector<T> b = wide.col(2).transpose();
  const auto expected = linear_layer<T>(W, b)(X);
  EXPECT_TRUE(bitwise_equal(linear_layer<T>(W, b.transpose())(X), expected));
  EXPECT_TRUE(bitwise_equal(linear_layer<T>(W, wide.col(2))(X), expected));
  EXPECT_TRUE(bitwise_equal(linear_layer<T>(W, T(1) * b)(X), expected));
  const T b0 = this->row(1)(0);
  const row_vector<T> one = row_vector<T>::Constant(1, b0);
  EXPECT_TRUE(bitwise_equal(linear_layer<T>(W.leftCols(1), one)(X),
                            linear_layer<T>(W.leftCols(1), one.transpose())(X)));
}

TYPED_TEST(LinearLayer, HasTheSameBitsInAnyStorage) {
  using T = TypeParam;
  for (const index inputs : {1, 64, 385}) {
    const auto X = this->matrix(17, inputs), W = this->matrix(inputs, 100);
    for (const activation f : {activation::none, activation::gelu}) {
      const linear_layer<T> layer(W, this->row(100), f);
      on_every_set([&](const options& opts) {
        const row_major<T> expected = layer(X, opts);
        expect_bits_in_any_storage(X, expected,
                                   [&](const auto& x, auto&& y) { layer.into(x, y, opts); });
      });
    }
  }
}

TYPED_TEST(LinearLayer, HasTheSameBitsForWeightsInAnyStorage) {
  using T = TypeParam;
  const auto X = this->matrix(9, 64), W = this->matrix(64, 49);
  const auto b = this->row(49);
  const col_major<T> turned = W.transpose();
  const row_major<T> half = W / T(2);
  strided_copy<T> strided(W);
  const framed_copy<T> framed(W);
  const auto expected = linear_layer<T>(W, b)(X);
  EXPECT_TRUE(bitwise_equal(linear_layer<T>(turned.transpose(), b)(X), expected));
  EXPECT_TRUE(bitwise_equal(linear_layer<T>(strided.map(), b)(X), expected));
  EXPECT_TRUE(bitwise_equal(linear_layer<T>(framed.block(), b)(X), expected));
  EXPECT_TRUE(bitwise_equal(linear_layer<T>(half + half, b)(X), expected));
}

TYPED_TEST(LinearLayer, HasTheSameBitsOnAnyExecutor) {
  using T = TypeParam;
  for (const index rows : {1, 9, 300})
    for (const index outputs : {1, 49, 500}) {
      const auto X = this->matrix(rows, 64);
      const linear_layer<T> layer(this->matrix(64, outputs), this->row(outputs), activation::relu);
      on_every_set([&](const options& opts) {
        const row_major<T> alone = layer(X, opts);
        on_other_executors([&](const auto& executor, const char* name) {
          EXPECT_TRUE(bitwise_equal(layer(X, executor, opts), alone)) << name << " " << rows;
        });
      });
    }
}

TYPED_TEST(LinearLayer, HasTheSameBitsForRowsInOneCallOrInSeveral) {
  using T = TypeParam;
  const auto X = this->matrix(37, 385);
  const linear_layer<T> layer(this->matrix(385, 100), this->row(100), activation::gelu_tanh);
  on_every_set([&](const options& opts) {
    const row_major<T> together = layer(X, opts);
    for (const index first : {0, 1, 3, 20})
      for (const index rows : row_counts)
        EXPECT_TRUE(
            bitwise_equal(layer(X.middleRows(first, rows), opts), together.middleRows(first, rows)))
            << first << " " << rows;
  });
}

TYPED_TEST(LinearLayer, HasTheSameBitsForColumnsAloneOrBesideOthers) {
  using T = TypeParam;
  const auto X = this->matrix(9, 64), W = this->matrix(64, 100);
  const auto b = this->row(100);
  on_every_set([&](const options& opts) {
    const row_major<T> together = linear_layer<T>(W, b)(X, opts);
    for (const index outputs : output_counts)
      EXPECT_TRUE(bitwise_equal(linear_layer<T>(W.leftCols(outputs), b.leftCols(outputs))(X, opts),
                                together.leftCols(outputs)))
          << outputs;
  });
}

TYPED_TEST(LinearLayer, NanAndInfinityReachExactlyTheirRow) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  const row_major<T> W = this->matrix(5, 50).cwiseAbs();
  for (const activation f : activations) {
    const linear_layer<T> layer(W, this->row(50), f);
    on_every_set([&](const options& opts) {
      for (const index rows : row_counts) {
        const row_major<T> clean = this->matrix(rows, 5);
        const row_major<T> expected = layer(clean, opts);
        for (index poisoned = 0; poisoned < rows; ++poisoned) {
          row_major<T> X = clean;
          X(poisoned, 3) = nan;
          row_major<T> Y = layer(X, opts);
          EXPECT_TRUE(row_is_nan(Y, poisoned)) << name_of(f) << " " << rows << " " << poisoned;
          Y.row(poisoned) = expected.row(poisoned);
          EXPECT_TRUE(bitwise_equal(Y, expected)) << name_of(f);
          X(poisoned, 3) = inf;
          Y = layer(X, opts);
          EXPECT_TRUE((Y.row(poisoned).array() == inf).all()) << name_of(f);
          Y.row(poisoned) = expected.row(poisoned);
          EXPECT_TRUE(bitwise_equal(Y, expected)) << name_of(f);
        }
      }
    });
  }
}

TYPED_TEST(LinearLayer, NanInAWeightReachesExactlyItsColumn) {
  using T = TypeParam;
  const auto X = this->matrix(9, 5), W = this->matrix(5, 50);
  on_every_set([&](const options& opts) {
    const col_major<T> expected = linear_layer<T>(W)(X, opts);
    for (const index poisoned : {0, 15, 16, 47, 48, 49}) {
      row_major<T> broken = W;
      broken(2, poisoned) = std::numeric_limits<T>::quiet_NaN();
      col_major<T> Y = linear_layer<T>(broken)(X, opts);
      EXPECT_TRUE(row_is_nan(Y.transpose(), poisoned));
      Y.col(poisoned) = expected.col(poisoned);
      EXPECT_TRUE(bitwise_equal(Y, expected)) << poisoned;
    }
  });
}

TYPED_TEST(LinearLayer, KeepsACopyOfItsWeights) {
  using T = TypeParam;
  auto W = this->matrix(5, 50);
  auto b = this->row(50);
  const auto X = this->matrix(3, 5);
  const linear_layer<T> layer(W, b);
  const auto expected = layer(X);
  W.setConstant(T(1e9));
  b.setZero();
  EXPECT_TRUE(bitwise_equal(layer(X), expected));
  const linear_layer<T> copy = layer;
  EXPECT_TRUE(bitwise_equal(copy(X), expected));
}

TYPED_TEST(LinearLayer, EdgeSizes) {
  using T = TypeParam;
  const linear_layer<T> empty;
  EXPECT_EQ(empty.inputs(), 0);
  EXPECT_EQ(empty.outputs(), 0);
  EXPECT_EQ(empty(row_major<T>(3, 0)).rows(), 3);
  const linear_layer<T> no_outputs(row_major<T>(4, 0));
  EXPECT_EQ(no_outputs(this->matrix(3, 4)).cols(), 0);
  const row_vector<T> b = this->row(50);
  const linear_layer<T> no_inputs(row_major<T>(0, 50), b);
  const exec::thread_pool pool(3);
  on_every_set([&](const options& opts) {
    EXPECT_TRUE(bitwise_equal(no_inputs(row_major<T>(7, 0), opts), b.replicate(7, 1).eval()));
    const linear_layer<T> layer(this->matrix(5, 50), b);
    EXPECT_EQ(layer(row_major<T>(0, 5), opts).rows(), 0);
    EXPECT_EQ(layer(row_major<T>(0, 5), opts, pool).cols(), 50);
  });
}

TYPED_TEST(LinearLayer, ResultsHaveTheStorageOrderOfTheInput) {
  using T = TypeParam;
  const linear_layer<T> layer(this->matrix(5, 7));
  static_assert(decltype(layer(row_major<T>(1, 5)))::IsRowMajor);
  static_assert(!decltype(layer(col_major<T>(1, 5)))::IsRowMajor);
  static_assert(std::is_same_v<typename linear_layer<T>::scalar, T>);
  EXPECT_EQ(layer.inputs(), 5);
  EXPECT_EQ(layer.outputs(), 7);
}

TYPED_TEST(LinearLayer, ServesSeveralThreadsAtOnce) {
  using T = TypeParam;
  const auto X = this->matrix(40, 64);
  const linear_layer<T> layer(this->matrix(64, 100), this->row(100), activation::gelu);
  const row_major<T> expected = layer(X);
  const exec::thread_pool pool(3);
  std::vector<row_major<T>> results(4);
  std::vector<std::thread> callers;
  for (row_major<T>& result : results)
    callers.emplace_back([&] {
      for (int round = 0; round < 10; ++round) result = layer(X, pool);
    });
  for (std::thread& caller : callers) caller.join();
  for (const row_major<T>& result : results) EXPECT_TRUE(bitwise_equal(result, expected));
}

TYPED_TEST(LinearLayer, RejectsWhatDoesNotFit) {
  using T = TypeParam;
  const auto W = this->matrix(5, 7);
  const linear_layer<T> layer(W);
  row_major<T> Y = row_major<T>::Constant(3, 7, T(42));
  const row_major<T> untouched = Y;
  const auto narrow = this->matrix(3, 4), X = this->matrix(3, 5), longer = this->matrix(4, 5);
  expect_error<shape_error>([&] { (void)layer(narrow); },
                            {"linear_layer", "X.cols() is 4", "inputs() is 5"});
  expect_error<shape_error>([&] { layer.into(narrow, Y); }, {"X.cols() is 4", "inputs() is 5"});
  expect_error<shape_error>([&] { layer.into(longer, Y); }, {"Y.rows() is 3", "X.rows() is 4"});
  row_major<T> wide = row_major<T>::Constant(3, 8, T(42));
  expect_error<shape_error>([&] { layer.into(X, wide); }, {"Y.cols() is 8", "outputs() is 7"});
  EXPECT_TRUE(bitwise_equal(Y, untouched));
  EXPECT_TRUE(bitwise_equal(wide, row_major<T>::Constant(3, 8, T(42))));
}

TYPED_TEST(LinearLayer, RejectsABiasOfAnotherLength) {
  using T = TypeParam;
  const auto W = this->matrix(5, 6);
  const row_vector<T> b = this->row(7);
  expect_error<shape_error>([&] { (void)linear_layer<T>(W, b); },
                            {"linear_layer", "b.size() is 7", "W.cols() is 6"});
  const auto no_vector = this->matrix(2, 3);
  expect_error<shape_error>([&] { (void)linear_layer<T>(W, no_vector); }, {"b.size()", "vector"});
}

TYPED_TEST(LinearLayer, RejectsAnOutputThatOverlapsItsInput) {
  using T = TypeParam;
  const linear_layer<T> layer(this->matrix(5, 5));
  auto all = this->matrix(9, 12);
  const row_major<T> untouched = all;
  const std::initializer_list<const char*> pieces = {"linear_layer", "Y overlaps X"};
  expect_error<argument_error>([&] { layer.into(all.leftCols(5), all.leftCols(5)); }, pieces);
  expect_error<argument_error>([&] { layer.into(all.leftCols(5), all.middleCols(4, 5)); }, pieces);
  expect_error<argument_error>([&] { layer.into(all.block(0, 0, 4, 5), all.block(3, 0, 4, 5)); },
                               pieces);
  EXPECT_TRUE(bitwise_equal(all, untouched));
  layer.into(all.leftCols(5), all.middleCols(5, 5));
  EXPECT_TRUE(bitwise_equal(all.middleCols(5, 5), layer(untouched.leftCols(5))));
}

// Activations alone: a product with the number 1 changes nothing.

template <class T>
class Activations : public ::testing::Test {
 protected:
  static column<T> of(activation f, const column<T>& x, const options& opts) {
    return linear_layer<T>(row_major<T>::Ones(1, 1), f)(x, opts);
  }
  static T of(activation f, T x, const options& opts) {
    return of(f, column<T>::Constant(1, x), opts)(0);
  }
  static column<T> grid() {
    constexpr index steps = 80000;
    return column<T>::LinSpaced(steps + 1, T(-40), T(40));
  }

  template <class Bound>
  static void expect_relative_error(activation f, const Bound& bound) {
    const column<T> x = grid();
    on_every_set([&](const options& opts) {
      const column<T> y = of(f, x, opts);
      double worst = 0;
      index at = 0;
      for (index k = 0; k < x.size(); ++k) {
        const oracle::real truth = oracle::activated(x[k], f);
        const double error = static_cast<double>(std::fabs(y[k] - truth));
        const double size = static_cast<double>(std::fabs(truth));
        const double share =
            error / (bound(static_cast<double>(x[k])) * size + activation_floor<T>());
        if (!(share <= worst)) {
          worst = share;
          at = k;
        }
      }
      EXPECT_LE(worst, 1) << name_of(f) << "(" << x[at] << ") is " << y[at];
    });
  }
};
TYPED_TEST_SUITE(Activations, scalars, scalar_names);

TYPED_TEST(Activations, ReluIsExact) {
  using T = TypeParam;
  const column<T> x = this->grid();
  on_every_set([&](const options& opts) {
    EXPECT_TRUE(bitwise_equal(this->of(activation::relu, x, opts), x.cwiseMax(T(0)).eval()));
  });
}

TYPED_TEST(Activations, GeluKeepsItsErrorBound) {
  this->expect_relative_error(activation::gelu, gelu_bound<TypeParam>);
}

TYPED_TEST(Activations, GeluTanhKeepsItsErrorBound) {
  this->expect_relative_error(activation::gelu_tanh, gelu_tanh_bound<TypeParam>);
}

TYPED_TEST(Activations, SiluKeepsItsErrorBound) {
  this->expect_relative_error(activation::silu, silu_bound<TypeParam>);
}

TYPED_TEST(Activations, SiluHasItsLimits) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity(), largest = std::numeric_limits<T>::max();
  on_every_set([&](const options& opts) {
    EXPECT_EQ(this->of(activation::silu, inf, opts), inf);
    EXPECT_EQ(this->of(activation::silu, -inf, opts), T(0));
    EXPECT_TRUE(std::isnan(this->of(activation::silu, std::numeric_limits<T>::quiet_NaN(), opts)));
    EXPECT_EQ(this->of(activation::silu, T(0), opts), T(0));
    for (const T x : {T(40), T(100), T(1e4), T(1e30), largest}) {
      EXPECT_EQ(this->of(activation::silu, x, opts), x);
      EXPECT_LE(std::fabs(this->of(activation::silu, -x, opts)),
                T(1.01) * x * std::exp(-std::min(x, T(80))));
    }
    for (const T x : {T(-1e4), T(-1e30), -largest})
      EXPECT_EQ(this->of(activation::silu, x, opts), T(0));
  });
}

TYPED_TEST(Activations, HaveTheirLimits) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity(), largest = std::numeric_limits<T>::max();
  for (const activation f : {activation::relu, activation::gelu, activation::gelu_tanh})
    on_every_set([&](const options& opts) {
      SCOPED_TRACE(name_of(f));
      EXPECT_EQ(this->of(f, inf, opts), inf);
      EXPECT_EQ(this->of(f, -inf, opts), T(0));
      EXPECT_TRUE(std::isnan(this->of(f, std::numeric_limits<T>::quiet_NaN(), opts)));
      EXPECT_EQ(this->of(f, T(0), opts), T(0));
      EXPECT_EQ(this->of(f, -T(0), opts), T(0));
      for (const T x : {T(22), T(30), T(100), T(1e4), T(1e30), largest}) {
        EXPECT_EQ(this->of(f, x, opts), x);
      }
      for (const T x : {T(-100), T(-1e4), T(-1e30), -largest}) {
        EXPECT_EQ(this->of(f, x, opts), T(0)) << x;
      }
    });
}

TYPED_TEST(Activations, OfSmallNumbersAreHalfOfThem) {
  using T = TypeParam;
  for (const activation f : {activation::gelu, activation::gelu_tanh})
    on_every_set([&](const options& opts) {
      for (const T x : {T(1e-30), T(-1e-30), T(1e-10), T(-1e-10)})
        EXPECT_LE(std::fabs(static_cast<double>(this->of(f, x, opts) / (x / 2) - 1)),
                  gelu_bound<T>(-1) + std::fabs(static_cast<double>(x)))
            << name_of(f) << " " << x;
    });
}

TEST(Activation, HasAName) {
  EXPECT_STREQ(name_of(activation::none), "none");
  EXPECT_STREQ(name_of(activation::relu), "relu");
  EXPECT_STREQ(name_of(activation::gelu), "gelu");
  EXPECT_STREQ(name_of(activation::gelu_tanh), "gelu_tanh");
  EXPECT_STREQ(name_of(activation::silu), "silu");
}

}  // namespace
}  // namespace softlook::linear_layer_test
