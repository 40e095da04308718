#include "softlook/positional.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "tests/oracle/numbers.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"
#include "tests/support/scalars.hpp"
#include "tests/support/storage.hpp"

namespace softlook::encodings_test {
namespace {

using namespace softlook_test;
using oracle::real;
using positions_list = std::vector<Eigen::Index>;

/// p·f in double, where f = base^(−x), x ≤ 1: pow and its arguments are relatively off by
/// (2 + ln base)·ε, the product by one more; sine and cosine are off by no more than their angle.
template <class T>
double angle_bound(double largest_angle, double base) {
  return epsilon_of<T>() + (4 + std::log(base)) * epsilon_of<double>() * largest_angle;
}

/// a cos − b sin: cos and sin off by the bound above, two products and a sum.
template <class T>
double turned_bound(double largest_angle, double base, double magnitude) {
  return 2 * magnitude * (angle_bound<T>(largest_angle, base) + 2 * epsilon_of<T>());
}

/// Two dot products of `terms` turned features.
template <class T>
double turned_scores_bound(double terms, double largest_angle, double magnitude) {
  const double of_features = turned_bound<T>(largest_angle, 10000, magnitude) * magnitude;
  return 2 * terms * (2 * of_features + terms * epsilon_of<T>() * magnitude * magnitude);
}

/// Vaswani et al., 2017, section 3.5, and tensor2tensor's form, in the order of the text.
oracle::matrix sinusoids(index rows, index features, const sinusoidal_options& o) {
  oracle::matrix PE = oracle::matrix::Zero(rows, features);
  const real ratio = real(o.max_timescale) / real(o.min_timescale);
  for (index i = 0; i < rows; ++i) {
    const real p = static_cast<real>(o.first + i) / real(o.min_timescale);
    if (o.layout == sinusoidal_layout::interleaved) {
      for (index j = 0; j < features; ++j) {
        const real angle = p / std::pow(ratio, real(j - j % 2) / real(features));
        PE(i, j) = j % 2 == 0 ? std::sin(angle) : std::cos(angle);
      }
      continue;
    }
    const index count = features / 2;
    for (index k = 0; k < count; ++k) {
      const real angle = p / std::pow(ratio, count > 1 ? real(k) / real(count - 1) : real(0));
      PE(i, k) = std::sin(angle);
      PE(i, count + k) = std::cos(angle);
    }
  }
  return PE;
}

struct rotary_problem {
  index width = 0;
  index head_features = 0;
  real theta = 10000;
  rotary_pairs pairs = rotary_pairs::half_split;
};

/// Su et al., 2021, Eq. (15): pair by pair, with any positions.
template <class Matrix, class Position>
oracle::matrix turned(const Matrix& X, const rotary_problem& p, const Position& position) {
  oracle::matrix Y = oracle::widen(X);
  for (index i = 0; i < X.rows(); ++i)
    for (index first = 0; first < X.cols(); first += p.head_features)
      for (index k = 0; k < p.width / 2; ++k) {
        const bool halves = p.pairs == rotary_pairs::half_split;
        const index left = first + (halves ? k : 2 * k);
        const index right = halves ? left + p.width / 2 : left + 1;
        const real angle =
            static_cast<real>(position(i)) * std::pow(p.theta, real(-2 * k) / real(p.width));
        const real a = static_cast<real>(X(i, left)), b = static_cast<real>(X(i, right));
        Y(i, left) = a * std::cos(angle) - b * std::sin(angle);
        Y(i, right) = b * std::cos(angle) + a * std::sin(angle);
      }
  return Y;
}

template <class T>
class Sinusoidal : public ::testing::Test {};
TYPED_TEST_SUITE(Sinusoidal, scalars, scalar_names);

TYPED_TEST(Sinusoidal, IsTheFormulaInBothLayouts) {
  for (const auto layout : {sinusoidal_layout::interleaved, sinusoidal_layout::concatenated})
    for (const index features : {0, 1, 2, 3, 4, 7, 16, 65})
      for (const index rows : {0, 1, 5, 130}) {
        const sinusoidal_options o{.first = 3, .layout = layout};
        const auto PE = sinusoidal<TypeParam>(rows, features, o);
        const double largest = static_cast<double>(o.first + rows);
        EXPECT_LE(max_error(PE, sinusoids(rows, features, o)),
                  angle_bound<TypeParam>(largest, o.max_timescale))
            << rows << "x" << features;
      }
}

TYPED_TEST(Sinusoidal, KeepsItsAccuracyAtLargePositions) {
  for (const auto layout : {sinusoidal_layout::interleaved, sinusoidal_layout::concatenated}) {
    const sinusoidal_options o{.first = 10'000'000, .layout = layout};
    const auto PE = sinusoidal<TypeParam>(3, 33, o);
    EXPECT_LE(max_error(PE, sinusoids(3, 33, o)),
              angle_bound<TypeParam>(static_cast<double>(o.first + 3), o.max_timescale));
  }
}

TYPED_TEST(Sinusoidal, TakesOtherTimescales) {
  for (const auto layout : {sinusoidal_layout::interleaved, sinusoidal_layout::concatenated}) {
    const sinusoidal_options o{.layout = layout, .min_timescale = 2, .max_timescale = 50};
    EXPECT_LE(max_error(sinusoidal<TypeParam>(40, 10, o), sinusoids(40, 10, o)),
              angle_bound<TypeParam>(20, o.max_timescale));
  }
}

TYPED_TEST(Sinusoidal, EndsAnOddWidthAsDocumented) {
  const auto interleaved = sinusoidal<TypeParam>(4, 5);
  EXPECT_NE(interleaved(1, 4), TypeParam(0));
  const auto apart = sinusoidal<TypeParam>(4, 5, {.layout = sinusoidal_layout::concatenated});
  EXPECT_TRUE((apart.col(4).array() == 0).all());
}

TYPED_TEST(Sinusoidal, ContinuesAtTheFirstPosition) {
  const auto all = sinusoidal<TypeParam>(20, 6);
  EXPECT_TRUE(bitwise_equal(sinusoidal<TypeParam>(8, 6, {.first = 12}), all.bottomRows(8)));
}

TYPED_TEST(Sinusoidal, WritesAnyStorage) {
  const auto expected = sinusoidal<TypeParam>(9, 7);
  col_major<TypeParam> by_columns(9, 7);
  sinusoidal_into(by_columns);
  EXPECT_TRUE(bitwise_equal(by_columns, expected));
  row_major<TypeParam> wide = row_major<TypeParam>::Constant(11, 10, TypeParam(4));
  sinusoidal_into(wide.block(1, 2, 9, 7));
  EXPECT_TRUE(bitwise_equal(wide.block(1, 2, 9, 7), expected));
  EXPECT_EQ(wide(0, 0), TypeParam(4));
  EXPECT_EQ(wide(10, 9), TypeParam(4));
}

TYPED_TEST(Sinusoidal, RejectsSizesAndTimescalesThatMakeNoSense) {
  expect_error<argument_error>([] { (void)sinusoidal<TypeParam>(-1, 4); },
                               {"sinusoidal", "positions is -1"});
  expect_error<argument_error>([] { (void)sinusoidal<TypeParam>(2, -4); }, {"features is -4"});
  expect_error<argument_error>([] { (void)sinusoidal<TypeParam>(2, 4, {.max_timescale = 0}); },
                               {"options.max_timescale is 0", "positive"});
  row_major<TypeParam> O = row_major<TypeParam>::Constant(2, 4, TypeParam(7));
  expect_error<argument_error>([&] { sinusoidal_into(O, {.min_timescale = -1}); },
                               {"sinusoidal_into", "options.min_timescale is -1"});
  EXPECT_TRUE((O.array() == 7).all());
}

template <class T>
class LearnedPositions : public ::testing::Test {
 protected:
  generator random = seed(61);
  row_major<T> table = random_matrix<row_major<T>>(10, 6, random);
  col_major<T> X = random_matrix<col_major<T>>(4, 6, random);
};
TYPED_TEST_SUITE(LearnedPositions, scalars, scalar_names);

TYPED_TEST(LearnedPositions, AddTheRowOfEveryPosition) {
  const learned_positions encode(this->table);
  EXPECT_EQ(encode.positions(), 10);
  EXPECT_EQ(encode.features(), 6);
  const col_major<TypeParam> from_six = this->X + this->table.bottomRows(4);
  EXPECT_TRUE(bitwise_equal(encode(this->X, 6), from_six));
  EXPECT_TRUE(bitwise_equal(encode(row_major<TypeParam>(this->X), 6), from_six));

  const positions_list mixed{9, 0, 0, 5};
  const auto Y = encode(this->X, mixed);
  for (index i = 0; i < 4; ++i)
    for (index j = 0; j < 6; ++j)
      EXPECT_EQ(Y(i, j), this->X(i, j) + this->table(mixed[static_cast<std::size_t>(i)], j));
}

TYPED_TEST(LearnedPositions, AreAddedInPlace) {
  const learned_positions encode(this->table);
  const auto expected = encode(this->X, 2);
  col_major<TypeParam> Y = this->X;
  encode.add_into(Y, 2);
  EXPECT_TRUE(bitwise_equal(Y, expected));
  strided_copy<TypeParam> spread(this->X);
  encode.add_into(spread.map(), 2);
  EXPECT_TRUE(bitwise_equal(spread.map(), expected));
}

TYPED_TEST(LearnedPositions, GiveTheSameBitsInEveryStorage) {
  const auto wide = random_matrix<row_major<TypeParam>>(60, 19, this->random);
  const auto Y = random_matrix<row_major<TypeParam>>(37, 19, this->random);
  const learned_positions encode(wide);
  const row_major<TypeParam> expected = Y + wide.middleRows(11, 37);
  EXPECT_TRUE(bitwise_equal(encode(Y, 11), expected));
  EXPECT_TRUE(bitwise_equal(encode(col_major<TypeParam>(Y), 11), expected));
}

TYPED_TEST(LearnedPositions, LookAtNoRowForNoToken) {
  const learned_positions encode(this->table);
  EXPECT_EQ(encode(row_major<TypeParam>(0, 6), 500).rows(), 0);
}

TYPED_TEST(LearnedPositions, RejectPositionsBeyondTheTableBeforeWriting) {
  const learned_positions encode(this->table);
  col_major<TypeParam> Y = this->X;
  expect_error<argument_error>([&] { encode.add_into(Y, 7); },
                               {"learned_positions::add_into", "position is 10", "10 positions"});
  expect_error<argument_error>([&] { encode.add_into(Y, -1); }, {"position is -1"});
  expect_error<argument_error>([&] { encode.add_into(Y, std::numeric_limits<index>::max()); },
                               {"position is"});
  expect_error<argument_error>([&] { encode.add_into(Y, positions_list{0, 1, 2, 12}); },
                               {"position is 12"});
  expect_error<shape_error>([&] { encode.add_into(Y, positions_list{0, 1, 2}); },
                            {"positions.size() is 3", "X.rows() is 4"});
  EXPECT_TRUE(bitwise_equal(Y, this->X));
}

TYPED_TEST(LearnedPositions, RejectAnotherFeatureSize) {
  const learned_positions encode(this->table);
  expect_error<shape_error>([&] { (void)encode(row_major<TypeParam>::Zero(2, 5).eval()); },
                            {"learned_positions", "X.cols() is 5", "table.cols() is 6"});
}

constexpr rotary_pairs both_pairs[] = {rotary_pairs::half_split, rotary_pairs::interleaved};

template <class T>
class RotaryEmbedding : public ::testing::Test {
 protected:
  generator random = seed(62);

  rotary_embedding<T> embedding(const rotary_problem& p) const {
    return rotary_embedding<T>(rotary_frequencies(p.width, static_cast<double>(p.theta)),
                               {.pairs = p.pairs, .head_features = p.head_features});
  }
};
TYPED_TEST_SUITE(RotaryEmbedding, scalars, scalar_names);

TYPED_TEST(RotaryEmbedding, TurnsEveryPairOfEveryHead) {
  using T = TypeParam;
  for (const rotary_pairs pairs : both_pairs)
    for (const auto& [width, head] : {std::pair<index, index>{2, 2},
                                      {6, 6},
                                      {4, 7},
                                      {0, 3},
                                      {128, 128},
                                      {130, 140},
                                      {254, 254}})
      for (const index heads : {0, 1, 3})
        for (const index rows : {0, 1, 7, 8, 9, 19}) {
          const rotary_problem p{.width = width, .head_features = head, .pairs = pairs};
          const auto X = random_matrix<row_major<T>>(rows, heads * head, this->random);
          const auto Y = this->embedding(p)(X, 5);
          const auto truth = turned(X, p, [](index i) { return 5 + i; });
          EXPECT_LE(max_error(Y, truth), turned_bound<T>(24, 10000, max_magnitude(X)))
              << rows << " rows, " << heads << " heads of " << head << ", " << width << " turn";
        }
}

TYPED_TEST(RotaryEmbedding, CopiesWhatDoesNotTurn) {
  const rotary_embedding<TypeParam> rope(rotary_frequencies(4), {.head_features = 7});
  const auto X = random_matrix<row_major<TypeParam>>(5, 14, this->random);
  const auto Y = rope(X, 100);
  EXPECT_TRUE(bitwise_equal(Y.middleCols(4, 3), X.middleCols(4, 3)));
  EXPECT_TRUE(bitwise_equal(Y.rightCols(3), X.rightCols(3)));
  EXPECT_NE(Y(0, 0), X(0, 0));
}

TYPED_TEST(RotaryEmbedding, TakesAPositionForEachRow) {
  const rotary_problem p{.width = 10, .head_features = 12, .theta = 500000};
  const positions_list positions{7, 100, 0, -3, 1000};
  const auto X = random_matrix<row_major<TypeParam>>(5, 24, this->random);
  const auto Y = this->embedding(p)(X, positions);
  const auto truth = turned(X, p, [&](index i) { return positions[static_cast<std::size_t>(i)]; });
  EXPECT_LE(max_error(Y, truth), turned_bound<TypeParam>(1000, 500000, max_magnitude(X)));
}

TYPED_TEST(RotaryEmbedding, KeepsItsAccuracyAtLargePositions) {
  constexpr index far = 40'000'001;  // beyond what float counts
  const rotary_problem p{.width = 64, .head_features = 64};
  const auto X = random_matrix<row_major<TypeParam>>(4, 64, this->random);
  const auto truth = turned(X, p, [](index i) { return far + i; });
  EXPECT_LE(max_error(this->embedding(p)(X, far), truth),
            turned_bound<TypeParam>(double(far + 4), 10000, max_magnitude(X)));
}

TYPED_TEST(RotaryEmbedding, GivesTheSameBitsInEveryFormAndStorage) {
  using T = TypeParam;
  for (const rotary_pairs pairs : both_pairs)
    for (const auto& [rows, width] : {std::pair<index, index>{11, 6}, {70, 22}, {129, 130}}) {
      const index features = width + 3, cols = 2 * features;
      rotary_embedding<T> rope(rotary_frequencies(width),
                               {.pairs = pairs, .head_features = features});
      const auto X = random_matrix<row_major<T>>(rows, cols, this->random);
      const auto expected = rope(X, 2);
      const col_major<T> by_columns = X;
      EXPECT_TRUE(bitwise_equal(rope(by_columns, 2), expected));
      EXPECT_TRUE(bitwise_equal(rope(framed_copy<T>(X).block(), 2), expected));
      EXPECT_TRUE(bitwise_equal(rope(T(0.5) * (X + X), 2), expected));
      strided_copy<T> spread(X);
      rope.in_place(spread.map(), 2);
      EXPECT_TRUE(bitwise_equal(spread.map(), expected));
      col_major<T> in_place = X;
      rope.in_place(in_place, 2);
      EXPECT_TRUE(bitwise_equal(in_place, expected));
      col_major<T> O = col_major<T>::Constant(rows + 2, cols + 2, T(8));
      rope.into(X, O.block(1, 1, rows, cols), 2);
      EXPECT_TRUE(bitwise_equal(O.block(1, 1, rows, cols), expected));
      EXPECT_TRUE((O.row(0).array() == 8).all() && (O.row(rows + 1).array() == 8).all());
      EXPECT_TRUE((O.col(0).array() == 8).all() && (O.col(cols + 1).array() == 8).all());
      rope.precompute(7);  // some of the positions: the rest are computed as before
      EXPECT_TRUE(bitwise_equal(rope(X, 2), expected));
      rope.precompute(200);
      EXPECT_TRUE(bitwise_equal(rope(X, 2), expected));
    }
}

TYPED_TEST(RotaryEmbedding, LeavesPositionZeroAlone) {
  const rotary_embedding<TypeParam> rope(rotary_frequencies(8));
  const auto X = random_matrix<row_major<TypeParam>>(1, 16, this->random);
  EXPECT_TRUE(bitwise_equal(rope(X), X));
}

TYPED_TEST(RotaryEmbedding, KeepsTheLengthOfEveryPair) {
  const auto X = random_matrix<row_major<TypeParam>>(30, 8, this->random);
  const rotary_embedding<TypeParam> rope(rotary_frequencies(8),
                                         {.pairs = rotary_pairs::interleaved});
  const auto Y = rope(X, 1000);
  for (index i = 0; i < X.rows(); ++i)
    for (index k = 0; k < 8; k += 2)
      EXPECT_NEAR(std::hypot(Y(i, k), Y(i, k + 1)), std::hypot(X(i, k), X(i, k + 1)),
                  turned_bound<TypeParam>(0, 10000, max_magnitude(X)));
}

TYPED_TEST(RotaryEmbedding, MakesScoresDependOnTheDistanceOnly) {
  const auto q = random_matrix<row_major<TypeParam>>(1, 16, this->random);
  const auto k = random_matrix<row_major<TypeParam>>(1, 16, this->random);
  for (const rotary_pairs pairs : both_pairs) {
    const rotary_embedding<TypeParam> rope(rotary_frequencies(16), {.pairs = pairs});
    const auto score = [&](index at_q, index at_k) {
      return double(
          oracle::inner_product(oracle::widen(rope(q, at_q)), 0, oracle::widen(rope(k, at_k)), 0));
    };
    const double magnitude = std::max(max_magnitude(q), max_magnitude(k));
    for (const index distance : {-40, -1, 0, 1, 17})
      for (const index start : {50, 1000, 5000})
        EXPECT_NEAR(score(start, start + distance), score(100, 100 + distance),
                    turned_scores_bound<TypeParam>(16, 5040, magnitude));
    EXPECT_GT(std::abs(score(0, 1) - score(0, 9)),
              turned_scores_bound<TypeParam>(16, 9, magnitude));
  }
}

TYPED_TEST(RotaryEmbedding, PairsTheSameFeaturesAfterAPermutation) {
  constexpr index width = 12;
  const auto X = random_matrix<row_major<TypeParam>>(9, width, this->random);
  row_major<TypeParam> mixed(9, width), back(9, width);
  for (index k = 0; k < width / 2; ++k) {
    mixed.col(2 * k) = X.col(k);
    mixed.col(2 * k + 1) = X.col(k + width / 2);
  }
  const auto turned_mixed = rotary_embedding<TypeParam>(
      rotary_frequencies(width), {.pairs = rotary_pairs::interleaved})(mixed, 3);
  for (index k = 0; k < width / 2; ++k) {
    back.col(k) = turned_mixed.col(2 * k);
    back.col(k + width / 2) = turned_mixed.col(2 * k + 1);
  }
  EXPECT_TRUE(bitwise_equal(back, rotary_embedding<TypeParam>(rotary_frequencies(width))(X, 3)));
}

TYPED_TEST(RotaryEmbedding, LooksUpGivenCosinesAndSines) {
  using T = TypeParam;
  const auto cos = random_matrix<row_major<T>>(6, 2, this->random);
  const auto sin = random_matrix<col_major<T>>(6, 2, this->random);
  const rotary_embedding<T> rope(cos, sin, {.head_features = 5});
  EXPECT_EQ(rope.width(), 4);
  EXPECT_EQ(rope.head_features(), 5);
  const auto X = random_matrix<row_major<T>>(3, 10, this->random);
  const positions_list positions{5, 0, 2};
  const auto Y = rope(X, positions);
  oracle::matrix truth = oracle::widen(X);
  for (index i = 0; i < 3; ++i)
    for (index head = 0; head < 2; ++head)
      for (index k = 0; k < 2; ++k) {
        const index p = positions[static_cast<std::size_t>(i)], left = 5 * head + k;
        const real a = X(i, left), b = X(i, left + 2), c = cos(p, k), s = sin(p, k);
        truth(i, left) = c * a - s * b;
        truth(i, left + 2) = s * a + c * b;
      }
  const double magnitude = std::max(max_magnitude(cos), max_magnitude(sin)) * max_magnitude(X);
  EXPECT_LE(max_error(Y, truth), turned_bound<T>(0, 1, magnitude));
}

TYPED_TEST(RotaryEmbedding, RejectsPositionsBeyondGivenCosinesBeforeWriting) {
  const row_major<TypeParam> cos = row_major<TypeParam>::Ones(6, 2);
  const rotary_embedding<TypeParam> rope(cos, cos);
  const auto X = random_matrix<row_major<TypeParam>>(3, 4, this->random);
  row_major<TypeParam> Y = X;
  expect_error<argument_error>([&] { rope.in_place(Y, 4); },
                               {"rotary_embedding::in_place", "position is 6", "6 positions"});
  expect_error<argument_error>([&] { rope.in_place(Y, positions_list{0, -1, 2}); },
                               {"position is -1"});
  expect_error<shape_error>([&] { rope.in_place(Y, positions_list{0, 1}); },
                            {"positions.size() is 2", "X.rows() is 3"});
  EXPECT_TRUE(bitwise_equal(Y, X));
}

TYPED_TEST(RotaryEmbedding, RejectsShapesThatDoNotFit) {
  using T = TypeParam;
  const rotary_embedding<T> rope(rotary_frequencies(4), {.head_features = 6});
  const row_major<T> X = row_major<T>::Ones(3, 12);
  row_major<T> O = row_major<T>::Zero(3, 6);
  expect_error<shape_error>([&] { (void)rope(X.leftCols(10)); },
                            {"rotary_embedding", "X.cols() is 10", "options.head_features is 6"});
  expect_error<shape_error>([&] { rope.into(X, O); }, {"O.cols() is 6", "X.cols() is 12"});
  expect_error<shape_error>([&] { rope.into(X.topRows(2), O); },
                            {"rotary_embedding::into", "O.rows() is 3", "X.rows() is 2"});
  row_major<T> Y = X;
  expect_error<argument_error>([&] { rope.into(Y.topRows(2), Y.bottomRows(2)); }, {"O overlaps X"});
  EXPECT_TRUE((O.array() == 0).all());
  EXPECT_TRUE(bitwise_equal(Y, X));
}

TYPED_TEST(RotaryEmbedding, RejectsOptionsThatMakeNoSense) {
  using rope = rotary_embedding<TypeParam>;
  const row_major<TypeParam> cos(5, 2), sin(5, 3), few(4, 2);
  expect_error<argument_error>([] { rope(rotary_frequencies(8), {.head_features = 6}); },
                               {"options.head_features is 6", "8"});
  expect_error<argument_error>([] { rope(rotary_frequencies(0), {.head_features = 0}); },
                               {"options.head_features is 0", "at least 1"});
  expect_error<argument_error>([] { rope(rotary_frequencies(8), {.magnitude = -1}); },
                               {"options.magnitude is -1"});
  expect_error<shape_error>([&] { rope(cos, sin); }, {"sin.cols() is 3", "cos.cols() is 2"});
  expect_error<shape_error>([&] { rope(cos, few); }, {"sin.rows() is 4", "cos.rows() is 5"});
  expect_error<argument_error>([] { rope(rotary_frequencies(8)).precompute(-1); }, {"count is -1"});
}

TYPED_TEST(RotaryEmbedding, MultipliesGivenCosinesByTheMagnitudeToo) {
  const auto cos = random_matrix<row_major<TypeParam>>(4, 3, this->random);
  const auto sin = random_matrix<row_major<TypeParam>>(4, 3, this->random);
  const auto X = random_matrix<row_major<TypeParam>>(4, 6, this->random);
  const row_major<TypeParam> twice = TypeParam(2) * rotary_embedding<TypeParam>(cos, sin)(X);
  EXPECT_TRUE(bitwise_equal(rotary_embedding<TypeParam>(cos, sin, {.magnitude = 2})(X), twice));
}

TYPED_TEST(RotaryEmbedding, MultipliesByTheMagnitude) {
  const auto X = random_matrix<row_major<TypeParam>>(4, 8, this->random);
  const rotary_embedding<TypeParam> rope(rotary_frequencies(8), {.magnitude = 2});
  const row_major<TypeParam> twice =
      TypeParam(2) * rotary_embedding<TypeParam>(rotary_frequencies(8))(X, 9);
  EXPECT_TRUE(bitwise_equal(rope(X, 9), twice));
}

/// pow of a few roundings.
double frequency_bound(double base) { return (4 + std::log(base)) * epsilon_of<double>(); }

TEST(RotaryFrequencies, ArePowersOfTheBase) {
  EXPECT_EQ(rotary_frequencies(0).size(), 0);
  for (const index width : {2, 6, 64}) {
    const Eigen::VectorXd f = rotary_frequencies(width, 500000);
    ASSERT_EQ(f.size(), width / 2);
    EXPECT_EQ(f[0], 1);
    for (index k = 0; k < f.size(); ++k)
      EXPECT_NEAR(f[k], double(std::pow(real(500000), real(-2 * k) / real(width))),
                  frequency_bound(500000));
  }
}

TEST(RotaryFrequencies, AreDividedByTheFactorOfLinearScaling) {
  const Eigen::VectorXd plain = rotary_frequencies(8);
  const Eigen::VectorXd scaled = rotary_frequencies(8, 10000, linear_scaling{.factor = 4});
  for (index k = 0; k < 4; ++k) EXPECT_EQ(scaled[k], plain[k] / 4);
}

TEST(RotaryFrequencies, HaveALargerBaseUnderNtk) {
  for (const index w : {4, 16, 128})
    for (const double factor : {1.0, 2.5, 8.0}) {
      const Eigen::VectorXd f = rotary_frequencies(w, 10000, ntk_scaling{.factor = factor});
      const real base = real(10000) * std::pow(real(factor), real(w) / real(w - 2));
      for (index k = 0; k < f.size(); ++k)
        EXPECT_NEAR(f[k], double(std::pow(base, real(-2 * k) / real(w))),
                    frequency_bound(double(base)));
      // What the base is chosen for: the slowest pair is divided by the factor.
      const double slowest = rotary_frequencies(w)[w / 2 - 1];
      EXPECT_NEAR(f[w / 2 - 1], slowest / factor, frequency_bound(double(base)));
    }
  EXPECT_EQ(rotary_frequencies(2, 10000, ntk_scaling{.factor = 8})[0], 1);
}

TEST(RotaryFrequencies, AreDividedByTheFactorsOfLongRope) {
  const std::vector<double> near = {1, 1.05, 1.25, 2}, far = {1, 4, 19.5, 64};
  const Eigen::VectorXd plain = rotary_frequencies(8);
  for (const index length : {0, 4096, 4097, 100000}) {
    const longrope_scaling scaling{
        .short_factors = near, .long_factors = far, .trained_positions = 4096, .length = length};
    const Eigen::VectorXd f = rotary_frequencies(8, 10000, scaling);
    for (index k = 0; k < 4; ++k)
      EXPECT_EQ(f[k], plain[k] / (length > 4096 ? far : near)[std::size_t(k)]) << length;
  }
}

TEST(RotaryFrequencies, HaveTheMagnitudeOfTheirScaling) {
  for (const double factor : {1.5, 8.0, 32.0}) {
    const longrope_scaling longrope{.trained_positions = 4096, .factor = factor};
    EXPECT_DOUBLE_EQ(longrope.magnitude(),
                     double(std::sqrt(1 + std::log(real(factor)) / std::log(real(4096)))));
    const yarn_scaling yarn{.factor = factor};
    const real log_factor = std::log(real(factor));
    EXPECT_DOUBLE_EQ(yarn.magnitude(0.7, 1.3), double((real(0.1) * 0.7 * log_factor + 1) /
                                                      (real(0.1) * 1.3 * log_factor + 1)));
  }
  EXPECT_EQ(longrope_scaling{}.magnitude(), 1);
  EXPECT_EQ(yarn_scaling{}.magnitude(0.7, 1.3), 1);
}

TEST(RotaryFrequencies, GrowTheirBaseWithTheTextUnderDynamicNtk) {
  const dynamic_ntk_scaling scaling{.factor = 2, .trained_positions = 64, .length = 200};
  const Eigen::VectorXd f = rotary_frequencies(16, 10000, scaling);
  const real base = real(10000) * std::pow(real(2) * 200 / 64 - 1, real(16) / 14);
  for (index k = 0; k < 8; ++k)
    EXPECT_NEAR(f[k], double(std::pow(base, real(-2 * k) / 16)), frequency_bound(double(base)));
}

TEST(RotaryFrequencies, AreUnchangedByDynamicNtkWithinTheTrainedLength) {
  for (const index length : {0, 64}) {
    const dynamic_ntk_scaling scaling{.factor = 2, .trained_positions = 64, .length = length};
    EXPECT_TRUE(bitwise_equal(rotary_frequencies(16, 10000, scaling), rotary_frequencies(16)));
  }
  const dynamic_ntk_scaling far{.factor = 2, .trained_positions = 64, .length = 1000};
  EXPECT_EQ(rotary_frequencies(2, 10000, far)[0], 1);
}

TEST(RotaryFrequencies, AreKeptBlendedOrDividedByLlama3) {
  const llama3_scaling scaling{
      .factor = 8, .low_frequency_factor = 1, .high_frequency_factor = 4, .trained_positions = 512};
  const Eigen::VectorXd plain = rotary_frequencies(64);
  const Eigen::VectorXd f = rotary_frequencies(64, 10000, scaling);
  int kept = 0, blended = 0, divided = 0;
  for (index k = 0; k < 32; ++k) {
    const real wavelength = 2 * std::numbers::pi_v<real> / real(plain[k]);
    real expected = real(plain[k]);
    if (wavelength > real(512) / 1) {
      expected /= 8;
      ++divided;
    } else if (wavelength < real(512) / 4) {
      ++kept;
    } else {
      const real smooth = (real(512) / wavelength - 1) / (4 - 1);
      expected = (1 - smooth) * expected / 8 + smooth * expected;
      ++blended;
    }
    EXPECT_NEAR(f[k], double(expected), frequency_bound(10000)) << k;
  }
  EXPECT_GT(kept, 0);
  EXPECT_GT(blended, 0);
  EXPECT_GT(divided, 0);
}

TEST(RotaryFrequencies, AreKeptBlendedOrDividedByYarn) {
  const yarn_scaling scaling{.factor = 4, .trained_positions = 64};
  const Eigen::VectorXd plain = rotary_frequencies(16),
                        stretched = rotary_frequencies(16, 1e4, scaling);
  // c(32) = −0.99 and c(1) = 2.02 of section 3.2, as whole pairs within the width: 0 and 3.
  for (index k = 0; k < 8; ++k) {
    const double divided = std::min(double(k) / 3, 1.0);
    EXPECT_DOUBLE_EQ(stretched[k], plain[k] * (1 - divided) + plain[k] / 4 * divided) << k;
  }
  EXPECT_DOUBLE_EQ(scaling.magnitude(), 0.1 * std::log(4) + 1);
  EXPECT_DOUBLE_EQ(scaling.magnitude(0.5), 0.05 * std::log(4) + 1);
  EXPECT_EQ(yarn_scaling{}.magnitude(), 1);
}

TEST(RotaryFrequencies, RejectWhatMakesNoSense) {
  expect_error<argument_error>([] { (void)rotary_frequencies(7); },
                               {"rotary_frequencies", "width is 7", "pairs"});
  expect_error<argument_error>([] { (void)rotary_frequencies(-2); }, {"width is -2"});
  expect_error<argument_error>([] { (void)rotary_frequencies(4, 0); }, {"theta is 0"});
  expect_error<argument_error>(
      [] { (void)rotary_frequencies(4, 10000, linear_scaling{.factor = 0}); },
      {"linear_scaling.factor is 0"});
  expect_error<argument_error>(
      [] { (void)rotary_frequencies(4, 10000, dynamic_ntk_scaling{.trained_positions = 0}); },
      {"dynamic_ntk_scaling.trained_positions is 0"});
  expect_error<argument_error>(
      [] { (void)rotary_frequencies(4, 10000, llama3_scaling{.high_frequency_factor = 1}); },
      {"llama3_scaling.high_frequency_factor is 1", "larger"});
  expect_error<argument_error>(
      [] { (void)rotary_frequencies(4, 10000, ntk_scaling{.factor = -1}); },
      {"ntk_scaling.factor is -1"});
  const double factors[] = {1, 0}, one[] = {1};
  expect_error<argument_error>(
      [&] {
        (void)rotary_frequencies(
            4, 10000, longrope_scaling{.short_factors = factors, .long_factors = factors});
      },
      {"longrope_scaling.short_factors is 0"});
  expect_error<shape_error>(
      [&] {
        (void)rotary_frequencies(4, 10000,
                                 longrope_scaling{.short_factors = one, .long_factors = one});
      },
      {"longrope_scaling.short_factors.size() is 1", "width / 2 is 2"});
}

}  // namespace
}  // namespace softlook::encodings_test
