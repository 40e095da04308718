#include "softlook/layer/low_precision.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "softlook/layer/linear_layer.hpp"
#include "tests/oracle/bfloat16.hpp"
#include "tests/oracle/decoder.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/layers.hpp"

namespace softlook::low_precision_test {
namespace {

using namespace softlook_test;
using oracle::unit_of_bfloat16;
using enum number_format;

// Around groups of numbers, rows of tiles, tiles, lanes and panels.
constexpr index input_counts[] = {0, 1, 2, 3, 5, 31, 32, 33, 64, 97, 385};
constexpr index output_counts[] = {0, 1, 17, 48, 49, 100};
constexpr index row_counts[] = {0, 1, 3, 8, 15, 16, 17, 31, 32, 33, 47, 48, 49, 150};
constexpr number_format formats[] = {bfloat16, int8};

/// Emulated ones are there on any machine.
std::vector<low_precision> ways_of(number_format as) {
  std::vector<low_precision> ways;
  for (const dot_unit unit : {dot_unit::amx, dot_unit::avx512})
    ways.push_back({.as = as, .unit = unit, .emulated = true});
  for (const dot_unit unit : available_dot_units(as)) ways.push_back({.as = as, .unit = unit});
  return ways;
}

std::string text_of(const low_precision& p) {
  return std::string(name_of(p.as)) + " " + name_of(p.unit.value_or(dot_unit::amx)) +
         (p.emulated ? " emulated" : "");
}

/// What units of products read: they flush what is denormal.
float flushed_bfloat16(float x) {
  if (std::isnan(x)) return x;
  if (std::fabs(x) < 0x1p-126F) return std::copysign(0.0F, x);
  return oracle::nearest_bfloat16(x);
}

/// Multiples of a scale of each row.
struct quantised {
  Eigen::Matrix<oracle::real, Eigen::Dynamic, 1> scale;
  oracle::matrix numbers;

  explicit quantised(const row_major<float>& X)
      : scale(X.rows()), numbers(oracle::matrix::Zero(X.rows(), X.cols())) {
    for (index i = 0; i < X.rows(); ++i) {
      const float most = X.cols() > 0 ? X.row(i).cwiseAbs().maxCoeff() : 0;
      const float s = most / 127;
      scale(i) = s < 1e-36F ? 0 : s;
      for (index k = 0; k < X.cols() && scale(i) > 0; ++k)
        numbers(i, k) = std::nearbyint(X(i, k) * (1 / s));
    }
  }
  [[nodiscard]] oracle::matrix values() const { return scale.asDiagonal() * numbers; }
};

class LowPrecision : public ::testing::Test {
 protected:
  generator random = seed(1703);

  row_major<float> matrix(index rows, index cols) {
    return random_matrix<row_major<float>>(rows, cols, random);
  }
  row_vector<float> row(index cols) { return random_matrix<row_vector<float>>(1, cols, random); }
  static linear_layer<float> layer_of(const row_major<float>& W, const low_precision& how) {
    return linear_layer<float>(W, activation::none, how);
  }
};

TEST_F(LowPrecision, OfAUnitHasTheBitsOfItsEmulation) {
  for (const number_format as : formats)
    for (const dot_unit unit : available_dot_units(as))
      for (const index inputs : input_counts)
        for (const index outputs : output_counts) {
          const auto X = matrix(150, inputs), W = matrix(inputs, outputs);
          const auto b = row(outputs);
          const linear_layer<float> native(W, b, activation::relu, low_precision{as, unit}),
              emulated(W, b, activation::relu, low_precision{as, unit, true});
          const row_major<float> expected = emulated(X);
          for (const index rows : row_counts)
            ASSERT_TRUE(bitwise_equal(native(X.topRows(rows)), expected.topRows(rows)))
                << name_of(as) << " " << name_of(unit) << " " << rows << "x" << inputs << "x"
                << outputs;
        }
}

TEST_F(LowPrecision, SumsRoundedNumbersAsAccuratelyAsFloat) {
  for (const index inputs : {1, 5, 97, 385, 1000})
    for (const low_precision& how : ways_of(bfloat16)) {
      const auto X = matrix(33, inputs), W = matrix(inputs, 50);
      const oracle::matrix x = oracle::widen(row_major<float>(X.unaryExpr(&flushed_bfloat16)));
      const oracle::matrix w = oracle::widen(row_major<float>(W.unaryExpr(&flushed_bfloat16)));
      const row_major<float> Y = layer_of(W, how)(X);
      const oracle::matrix truth = x * w, sizes = x.cwiseAbs() * w.cwiseAbs();
      for (index i = 0; i < Y.rows(); ++i)
        for (index c = 0; c < Y.cols(); ++c)
          ASSERT_LE(std::fabs(Y(i, c) - truth(i, c)),
                    oracle::real(inputs) * 0x1p-24L * sizes(i, c) + 0x1p-126L)
              << text_of(how) << " " << inputs;
    }
}

TEST_F(LowPrecision, OfEightBitsIsExactButForItsScales) {
  for (const index inputs : {1, 5, 97, 385, 1000})
    for (const low_precision& how : ways_of(int8)) {
      const auto X = matrix(33, inputs), W = matrix(inputs, 50);
      const quantised x(X), w(W.transpose());
      const row_major<float> Y = layer_of(W, how)(X);
      const oracle::matrix truth = x.values() * w.values().transpose();
      for (index i = 0; i < Y.rows(); ++i)
        for (index c = 0; c < Y.cols(); ++c)
          ASSERT_LE(std::fabs(Y(i, c) - truth(i, c)), 3.01L * 0x1p-24L * std::fabs(truth(i, c)))
              << text_of(how) << " " << inputs;
    }
}

TEST_F(LowPrecision, IsWithinItsErrorOfTheProduct) {
  for (const number_format as : formats)
    for (const low_precision& how : ways_of(as)) {
      const index inputs = 385;
      const auto X = matrix(33, inputs), W = matrix(inputs, 50);
      const oracle::matrix x = oracle::widen(X), w = oracle::widen(W), truth = x * w;
      const oracle::matrix sizes = x.cwiseAbs() * w.cwiseAbs();
      const quantised qx(X), qw(W.transpose());
      const row_major<float> Y = layer_of(W, how)(X);
      oracle::real worst = 0;
      for (index i = 0; i < Y.rows(); ++i)
        for (index c = 0; c < Y.cols(); ++c) {
          const oracle::real sx = qx.scale(i), sw = qw.scale(c);
          const oracle::real rounding =
              as == bfloat16
                  ? oracle::real((2 + unit_of_bfloat16) * unit_of_bfloat16) * sizes(i, c)
                  : sw / 2 * x.row(i).cwiseAbs().sum() + sx / 2 * w.col(c).cwiseAbs().sum() +
                        oracle::real(inputs) * sx * sw / 4;
          const oracle::real error = std::fabs(Y(i, c) - truth(i, c));
          worst = std::max(worst, error / rounding);
          ASSERT_LE(error, rounding * (1 + 0x1p-16L) +
                               oracle::real(inputs) * 0x1p-24L * (sizes(i, c) + rounding))
              << text_of(how);
        }
      EXPECT_GT(worst, 0.01L) << text_of(how) << ": nothing is rounded";
    }
}

TEST_F(LowPrecision, HasTheSameBitsOnEverySetAndExecutorAndInAnyStorage) {
  for (const number_format as : formats)
    for (const low_precision& how : ways_of(as))
      for (const index rows : {1, 9, 70}) {
        const auto X = matrix(rows, 67);
        const linear_layer<float> layer(matrix(67, 100), row(100), activation::relu, how);
        const row_major<float> expected = layer(X);
        on_every_set([&](const options& opts) {
          EXPECT_TRUE(bitwise_equal(layer(X, opts), expected)) << text_of(how) << " " << rows;
        });
        on_other_executors([&](const auto& executor, const char* name) {
          EXPECT_TRUE(bitwise_equal(layer(X, executor), expected)) << name << " " << text_of(how);
        });
        expect_bits_in_any_storage(X, expected, [&](const auto& x, auto&& y) { layer.into(x, y); });
      }
}

TEST_F(LowPrecision, RoundsTiesToTheEvenNumberAndSubnormalsToZero) {
  row_major<float> W(1, 4);
  W << 1 + 0x1p-8F, 1 + 3 * 0x1p-8F, 1 + 0x1p-8F + 0x1p-20F, 0x1.8p-127F;
  row_major<float> R(1, 4);
  R << 1, 1 + 0x1p-6F, 1 + 0x1p-7F, 0;
  const row_major<float> one = row_major<float>::Ones(1, 1), big = one * 0x1p30F;
  const row_major<float> least = one * 0x1p-126F;  // which is normal
  for (const low_precision& how : ways_of(bfloat16)) {
    EXPECT_TRUE((layer_of(W, how)(one).array() == R.array()).all()) << text_of(how);
    // The same of X.
    EXPECT_TRUE((layer_of(one, how)(W.transpose().eval()).array() == R.transpose().array()).all())
        << text_of(how);
    EXPECT_EQ(layer_of(big, how)(W.transpose().eval())(3, 0), 0) << text_of(how);
    EXPECT_EQ(layer_of(big, how)(least)(0, 0), 0x1p-96F) << text_of(how);
    EXPECT_EQ(layer_of(least, how)(big)(0, 0), 0x1p-96F) << text_of(how);
  }
}

TEST_F(LowPrecision, OfABadRowIsNanInThatRowAlone) {
  for (const number_format as : formats)
    for (const low_precision& how : ways_of(as))
      for (const float bad :
           {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        const auto layer = layer_of(matrix(40, 50), how);
        auto X = matrix(40, 40);
        const row_major<float> expected = layer(X);
        X(17, 3) = bad;
        row_major<float> Y = layer(X);
        EXPECT_FALSE(Y.row(17).array().isFinite().any()) << text_of(how) << " " << bad;
        Y.row(17) = expected.row(17);
        EXPECT_TRUE(bitwise_equal(Y, expected)) << text_of(how) << " " << bad;
      }
}

TEST_F(LowPrecision, OfZerosIsZero) {
  for (const number_format as : formats)
    for (const low_precision& how : ways_of(as)) {
      const row_major<float> zeros = row_major<float>::Zero(17, 33);
      EXPECT_TRUE((layer_of(matrix(33, 50), how)(zeros).array() == 0).all()) << text_of(how);
      EXPECT_TRUE((layer_of(zeros, how)(matrix(5, 17)).array() == 0).all()) << text_of(how);
    }
}

TEST_F(LowPrecision, OfWholeLayersHasTheSameBitsOnAnyExecutor) {
  for (const number_format as : formats)
    for (const low_precision& how : ways_of(as)) {
      auto p = random_encoder_layer<float>(4, 13, 70, random);
      p.weights = p.self_attention.weights = how;
      const transformer_encoder_layer<float> layer(p, {.heads = {.query = 4, .kv = 4}});
      const transformer_encoder<float> stack({layer, layer});
      const multi_head<float> heads(p.self_attention, {.query = 4, .kv = 4});
      for (const index rows : {1, 7, 150}) {
        const auto X = matrix(rows, 52), other = matrix(60, 52);
        const row_major<float> expected = stack(X), crossed = heads(X, other, other);
        EXPECT_TRUE(expected.allFinite());
        on_other_executors([&](const auto& executor, const char* name) {
          EXPECT_TRUE(bitwise_equal(stack(X, executor), expected)) << name << " " << text_of(how);
          EXPECT_TRUE(bitwise_equal(heads(X, other, other, executor), crossed))
              << name << " " << text_of(how);
        });
      }
    }
}

TEST_F(LowPrecision, OfALayerIsThatOfItsParts) {
  const low_precision how{.as = bfloat16, .unit = dot_unit::amx, .emulated = true};
  multi_head_parameters<float> p;
  for (auto* W : {&p.Wq, &p.Wk, &p.Wv, &p.Wo}) *W = matrix(32, 32);
  p.weights = how;
  const auto X = matrix(21, 32), M = matrix(40, 32), N = matrix(40, 32);
  const auto of = [&](const auto& W, const auto& x) {
    return row_major<float>(layer_of(W, how)(x));
  };
  const row_major<float> Q = of(p.Wq, X), K = of(p.Wk, M), V = of(p.Wv, N);
  EXPECT_TRUE(bitwise_equal(multi_head<float>(p, {.query = 4})(X, M, N),
                            of(p.Wo, attention(Q, K, V, heads{.query = 4}))));
}

TEST_F(LowPrecision, IsRefusedWhereItCannotBe) {
  const row_major<float> W = matrix(3, 4);
  expect_error<argument_error>([&] { layer_of(W, {.as = bfloat16, .unit = dot_unit::avx2}); },
                               {"avx2", "bfloat16"});
  for (const number_format as : formats)
    for (const dot_unit unit : {dot_unit::amx, dot_unit::avx512})
      if (const auto has = available_dot_units(as);
          std::find(has.begin(), has.end(), unit) == has.end())
        expect_error<argument_error>([&] { layer_of(W, {.as = as, .unit = unit}); },
                                     {name_of(unit), name_of(as)});
  row_major<float> infinite = W;
  infinite(1, 2) = std::numeric_limits<float>::infinity();
  const low_precision emulated{.as = int8, .emulated = true};
  expect_error<argument_error>([&] { layer_of(infinite, emulated); }, {"weight (1, 2)", "inf"});
  expect_error<argument_error>([&] { layer_of(row_major<float>::Zero(65537, 1), emulated); },
                               {"65537", "65536"});
  expect_error<argument_error>(
      [&] { linear_layer<double>(W.cast<double>().eval(), activation::none, low_precision{}); },
      {"double"});
}

TEST_F(LowPrecision, SaysHowWeightsAreKept) {
  const auto W = matrix(64, 100);
  EXPECT_EQ(layer_of(W, {.as = bfloat16}).storage(), weight_storage::bfloat16);
  EXPECT_EQ(layer_of(W, {.as = int8}).storage(), weight_storage::int8);
  EXPECT_EQ(layer_of(W, {.as = bfloat16, .emulated = true}).weight_bytes(),
            std::size_t(2 * 64 * 144));
}

}  // namespace
}  // namespace softlook::low_precision_test
