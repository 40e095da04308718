// Additive scores over the whole range of arguments: the kernel chooses a form of tanh by the
// largest |q| and |k| of a tile, so tiles of every kind and of mixed kinds are asked.
#include <gtest/gtest.h>

#include <limits>

#include "tests/support/agreement.hpp"
#include "tests/support/random.hpp"

namespace softlook::additive_magnitudes_test {
namespace {

using namespace softlook_test;

template <class T>
class AdditiveMagnitudes : public ::testing::Test {
 protected:
  static constexpr index n = 39, m = 83, a = 17, e = 4;
  generator random = seed(141);
  column<T> v = random_matrix<column<T>>(a, 1, random);
  row_major<T> V = random_matrix<row_major<T>>(m, e, random);

  row_major<T> inputs(index rows, double magnitude) {
    return random_matrix<row_major<T>>(rows, a, random, magnitude);
  }
  void expect_agreement(const row_major<T>& Q, const row_major<T>& K) const {
    expect_every_way_agrees(Q, K, V, std::nullopt, scores::additive_projected{v});
    const row_major<T> one = Q.topRows(1);
    expect_every_way_agrees(one, K, V, std::nullopt, scores::additive_projected{v});
  }
};
TYPED_TEST_SUITE(AdditiveMagnitudes, scalars, scalar_names);

TYPED_TEST(AdditiveMagnitudes, OfOneSize) {
  for (const double size : {1e-30, 1e-8, 1e-4, 1e-2, 0.3, 1.0, 3.0, 10.0, 50.0, 1e4, 1e30}) {
    SCOPED_TRACE(size);
    this->expect_agreement(this->inputs(this->n, size), this->inputs(this->m, size));
  }
}

TYPED_TEST(AdditiveMagnitudes, OfTwoSizes) {
  for (const double query_size : {1e-4, 0.5, 9.0, 50.0, 1e4}) {
    for (const double key_size : {1e-4, 0.5, 9.0, 50.0, 1e4}) {
      SCOPED_TRACE(::testing::Message() << query_size << " and " << key_size);
      this->expect_agreement(this->inputs(this->n, query_size), this->inputs(this->m, key_size));
    }
  }
}

TYPED_TEST(AdditiveMagnitudes, MixedInOneTile) {
  auto Q = this->inputs(this->n, 1), K = this->inputs(this->m, 1);
  const double sizes[] = {1e-4, 1, 50, 1e4};
  for (index i = 0; i < this->n; ++i) Q.row(i) *= static_cast<TypeParam>(sizes[i % 4]);
  for (index j = 0; j < this->m; ++j) K.row(j) *= static_cast<TypeParam>(sizes[(j / 5) % 4]);
  this->expect_agreement(Q, K);
}

TYPED_TEST(AdditiveMagnitudes, MixedWithinARow) {
  auto Q = this->inputs(this->n, 1), K = this->inputs(this->m, 1);
  const double sizes[] = {1e-4, 1, 50, 1e4, 20};
  for (index u = 0; u < this->a; ++u) {
    Q.col(u) *= static_cast<TypeParam>(sizes[u % 5]);
    K.col(u) *= static_cast<TypeParam>(sizes[(u * 3) % 5]);
  }
  this->expect_agreement(Q, K);
}

// e^{2q}·e^{2k} overflows although q + k is small.
TYPED_TEST(AdditiveMagnitudes, ThatCancel) {
  for (const double size : {5.0, 20.0, 43.0, 45.0, 60.0, 88.0, 100.0, 400.0, 1000.0}) {
    SCOPED_TRACE(size);
    auto Q = this->inputs(this->n, 0.5), K = this->inputs(this->m, 0.5);
    Q.array() += static_cast<TypeParam>(size);
    K.array() -= static_cast<TypeParam>(size);
    this->expect_agreement(Q, K);
    this->expect_agreement(-Q, -K);
  }
}

TYPED_TEST(AdditiveMagnitudes, OfZero) {
  this->expect_agreement(row_major<TypeParam>::Zero(this->n, this->a),
                         row_major<TypeParam>::Zero(this->m, this->a));
}

TYPED_TEST(AdditiveMagnitudes, OfTheVector) {
  const auto unit = this->v;
  for (const double size : {1e-6, 10.0, 100.0}) {
    SCOPED_TRACE(size);
    this->v = unit * static_cast<TypeParam>(size);
    this->expect_agreement(this->inputs(this->n, 1), this->inputs(this->m, 1));
    this->expect_agreement(this->inputs(this->n, 1e-4), this->inputs(this->m, 1e-4));
  }
}

TYPED_TEST(AdditiveMagnitudes, OfWeightsFarApart) {
  const double sizes[] = {1, 0, 1e-6, 1e-12, 1e-30};
  for (index u = 0; u < this->a; ++u) this->v(u) *= static_cast<TypeParam>(sizes[u % 5]);
  for (const double size : {0.3, 2.0, 12.0})
    this->expect_agreement(this->inputs(this->n, size), this->inputs(this->m, size));
}

TYPED_TEST(AdditiveMagnitudes, OfWeightsNextToNothing) {
  const auto unit = this->v;
  for (const double size : {1e-20, 1e-30, 1e-40, 0.0}) {
    SCOPED_TRACE(size);
    this->v = unit * static_cast<TypeParam>(size);
    this->expect_agreement(this->inputs(this->n, 1), this->inputs(this->m, 1));
  }
}

TYPED_TEST(AdditiveMagnitudes, OfAWeightThatIsNotANumberLeaveNone) {
  this->v(this->a / 2) = std::numeric_limits<TypeParam>::quiet_NaN();
  const auto K = this->inputs(this->m, 1);
  for (const double size : {1e-3, 1.0, 1e3}) {
    const auto Q = this->inputs(this->n, size);
    for (const way& which : every_way()) {
      SCOPED_TRACE(which.name);
      const scores::additive_projected score{this->v};
      EXPECT_TRUE(attention(Q, K, this->V, score, which.opts).array().isNaN().all());
    }
  }
}

TYPED_TEST(AdditiveMagnitudes, OfAnyNumberOfUnits) {
  for (const index units : {1, 2, 8, 31, 128, 300}) {
    SCOPED_TRACE(units);
    const auto w = random_matrix<column<TypeParam>>(units, 1, this->random);
    const auto Q = random_matrix<row_major<TypeParam>>(20, units, this->random);
    const auto K = random_matrix<row_major<TypeParam>>(this->m, units, this->random);
    expect_every_way_agrees(Q, K, this->V, std::nullopt, scores::additive_projected{w});
  }
}

TYPED_TEST(AdditiveMagnitudes, OfNoUnitsGiveTheMeanOfTheValues) {
  const column<TypeParam> w(0);
  const row_major<TypeParam> Q(20, 0), K(this->m, 0);
  expect_every_way_agrees(Q, K, this->V, std::nullopt, scores::additive_projected{w});
}

TYPED_TEST(AdditiveMagnitudes, WithScaleMaskAndTransforms) {
  const auto Q = this->inputs(this->n, 1), K = this->inputs(this->m, 1);
  expect_every_way_agrees(Q, K, this->V, 0.7, scores::additive_projected{this->v},
                          masks::causal_bottom_right{}, transforms::soft_cap{2.0});
}

}  // namespace
}  // namespace softlook::additive_magnitudes_test
