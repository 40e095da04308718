#include "softlook/layer/weight_format.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>

#include "softlook/layer/linear_layer.hpp"
#include "tests/oracle/bfloat16.hpp"
#include "tests/oracle/decoder.hpp"
#include "tests/support/decoders.hpp"
#include "tests/support/errors.hpp"

namespace softlook::stored_weights_test {
namespace {

using namespace softlook_test;
using oracle::nearest_bfloat16;
using oracle::unit_of_bfloat16;

// Around register tiles of rows, of lanes and of panels; around the rows that convert in registers,
// and the rows and steps that share a converted chunk.
constexpr index input_counts[] = {0, 1, 5, 95, 96, 97, 385};
constexpr index output_counts[] = {0, 1, 17, 47, 48, 49, 100};
constexpr weight_storage storages[] = {weight_storage::bfloat16, weight_storage::int8};

/// Scales by the definition.
row_vector<float> scales_of(const row_major<float>& W) {
  row_vector<float> s = row_vector<float>::Zero(W.cols());
  for (index c = 0; c < W.cols(); ++c)
    for (index k = 0; k < W.rows(); ++k) s(c) = std::max(s(c), std::fabs(W(k, c)));
  return s / 127;
}

/// Ŵ by the definition, with scales in long double.
oracle::matrix rounded(const row_major<float>& W, weight_storage kept) {
  oracle::matrix R(W.rows(), W.cols());
  const row_vector<float> s = scales_of(W);
  for (index k = 0; k < W.rows(); ++k)
    for (index c = 0; c < W.cols(); ++c)
      R(k, c) = kept == weight_storage::bfloat16 ? oracle::real(nearest_bfloat16(W(k, c)))
                : s(c) == 0                      ? oracle::real(0)
                            : std::nearbyint(oracle::real(W(k, c)) / s(c)) * oracle::real(s(c));
  return R;
}

class StoredWeights : public ::testing::Test {
 protected:
  generator random = seed(1401);

  row_major<float> matrix(index rows, index cols) {
    return random_matrix<row_major<float>>(rows, cols, random);
  }
  row_vector<float> row(index cols) { return random_matrix<row_vector<float>>(1, cols, random); }
  /// What the layer keeps: it is a product with the unit matrix, whose sums have one term.
  static row_major<float> kept_weights(const linear_layer<float>& layer) {
    return layer(row_major<float>::Identity(layer.inputs(), layer.inputs()).eval());
  }
};

TEST_F(StoredWeights, AreTheRoundedOnesInALinearMapOfAnyShape) {
  for (const weight_storage kept : storages)
    for (const index inputs : input_counts)
      for (const index outputs : output_counts) {
        const auto X = matrix(40, inputs), W = matrix(inputs, outputs);
        const auto b = row(outputs);
        const linear_layer<float> layer(W, b, activation::none, kept);
        const oracle::matrix wide_X = oracle::widen(X), R = rounded(W, kept);
        const oracle::matrix truth = oracle::linear(wide_X, R, oracle::widen(b), activation::none);
        const oracle::matrix sums = oracle::product(wide_X.cwiseAbs(), R.cwiseAbs());
        const double bound =
            linear_bound<float>(double(inputs), max_magnitude(sums) + max_magnitude(b));
        on_every_set([&](const options& opts) {
          for (index rows = 0; rows <= 40; rows += rows < 18 ? 1 : 11) {
            const row_major<float> Y = layer(X.topRows(rows), opts);
            ASSERT_EQ(Y.rows(), rows);
            ASSERT_EQ(Y.cols(), outputs);
            if (Y.size() == 0) continue;
            EXPECT_LE(max_error(Y, truth.topRows(rows)), bound)
                << rows << "x" << inputs << "x" << outputs << " " << name_of(kept);
          }
        });
      }
}

TEST_F(StoredWeights, OfSixteenBitsHaveTheBitsOfALayerOfRoundedWeights) {
  for (const index inputs : {5, 96, 385})
    for (const activation f : {activation::none, activation::gelu}) {
      const auto X = matrix(150, inputs), W = matrix(inputs, 100);
      const auto b = row(100);
      const row_major<float> R = W.unaryExpr(&nearest_bfloat16);
      const linear_layer<float> layer(W, b, f, weight_storage::bfloat16), exact(R, b, f);
      on_every_set([&](const options& opts) {
        for (const index rows : {1, 3, 8, 9, 64, 65, 150})
          EXPECT_TRUE(bitwise_equal(layer(X.topRows(rows), opts), exact(X.topRows(rows), opts)))
              << rows << "x" << inputs << " " << name_of(f);
      });
    }
}

TEST_F(StoredWeights, OfSixteenBitsAreWithinHalfAStep) {
  const auto W = matrix(97, 100);
  const row_major<float> R =
      kept_weights(linear_layer<float>(W, activation::none, weight_storage::bfloat16));
  for (index k = 0; k < W.size(); ++k)
    EXPECT_LE(std::fabs(R.data()[k] - W.data()[k]), unit_of_bfloat16 * std::fabs(W.data()[k]));
}

TEST_F(StoredWeights, OfEightBitsAreWithinHalfAScale) {
  row_major<float> W = matrix(97, 100);
  for (index c = 0; c < W.cols(); ++c) W.col(c) *= std::ldexp(1.0F, int(c) - 50);
  const row_major<float> R =
      kept_weights(linear_layer<float>(W, activation::none, weight_storage::int8));
  const row_vector<float> s = scales_of(W);
  for (index k = 0; k < W.rows(); ++k)
    for (index c = 0; c < W.cols(); ++c)
      EXPECT_LE(std::fabs(R(k, c) - W(k, c)), s(c) / 2 + epsilon_of<float>() * std::fabs(W(k, c)));
}

TEST_F(StoredWeights, EverySixteenBitsOfAFiniteNumberAreExact) {
  // All 2^16 patterns but those of NaN and infinity, in matrices of a few rows.
  std::vector<float> all;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits)
    if (const float x = std::bit_cast<float>(bits << 16); std::isfinite(x)) all.push_back(x);
  ASSERT_EQ(all.size(), std::size_t(0x10000 - 2 * 0x80));
  const Eigen::Map<const row_major<float>> W(all.data(), 1, index(all.size()));
  const linear_layer<float> layer(W, activation::none, weight_storage::bfloat16);
  on_every_set([&](const options& opts) {
    for (const index rows : {1, 2, 5, 9}) {
      const row_major<float> Y = layer(row_major<float>::Ones(rows, 1).eval(), opts);
      for (index i = 0; i < rows; ++i)
        for (index c = 0; c < Y.cols(); ++c)
          ASSERT_EQ(Y(i, c), W(0, c)) << rows << " " << c;  // a sum that began with +0 loses −0
    }
  });
}

TEST_F(StoredWeights, TiesGoToTheEvenNumber) {
  row_major<float> W(1, 4), even(1, 4);
  W << 1 + 0x1p-8F, 1 + 3 * 0x1p-8F, -1 - 0x1p-8F, 1 + 0x1p-8F + 0x1p-20F;
  even << 1, 1 + 0x1p-6F, -1, 1 + 0x1p-7F;
  EXPECT_TRUE(bitwise_equal(
      kept_weights(linear_layer<float>(W, activation::none, weight_storage::bfloat16)), even));
}

TEST_F(StoredWeights, OfEightBitsReachTheLargestMagnitude) {
  row_major<float> W(3, 3);
  W << 127, -254, 0,  //
      1, 2, 0,        //
      -0.4F, 253, 0;
  row_major<float> R = W;
  R(2, 0) = 0;
  R(2, 1) = 252;  // 126.5 of 2, to even
  EXPECT_TRUE(
      (kept_weights(linear_layer<float>(W, activation::none, weight_storage::int8)).array() ==
       R.array())
          .all());
}

TEST_F(StoredWeights, TooSmallForAScaleAreZero) {
  const row_major<float> W = row_major<float>::Constant(5, 3, 1e-36F);
  const auto Y = kept_weights(linear_layer<float>(W, activation::none, weight_storage::int8));
  EXPECT_TRUE((Y.array() == 0).all());
}

TEST_F(StoredWeights, HaveTheSameBitsInAnyStorage) {
  for (const weight_storage kept : storages)
    for (const index inputs : {1, 64, 385})
      for (const index rows : {1, 4, 7, 17}) {
        const auto X = matrix(rows, inputs), W = matrix(inputs, 100);
        const linear_layer<float> layer(W, row(100), activation::gelu, kept);
        on_every_set([&](const options& opts) {
          const row_major<float> expected = layer(X, opts);
          expect_bits_in_any_storage(X, expected,
                                     [&](const auto& x, auto&& y) { layer.into(x, y, opts); });
        });
      }
}

TEST_F(StoredWeights, HaveTheSameBitsForWeightsInAnyStorage) {
  for (const weight_storage kept : storages) {
    const auto X = matrix(9, 64), W = matrix(64, 49);
    const col_major<float> by_columns = W;
    strided_copy<float> strided(W);
    const auto expected = linear_layer<float>(W, activation::none, kept)(X);
    EXPECT_TRUE(
        bitwise_equal(linear_layer<float>(by_columns, activation::none, kept)(X), expected));
    EXPECT_TRUE(
        bitwise_equal(linear_layer<float>(strided.map(), activation::none, kept)(X), expected));
  }
}

TEST_F(StoredWeights, HaveTheSameBitsOnAnyExecutor) {
  for (const weight_storage kept : storages)
    for (const index rows : {1, 9, 300})
      for (const index outputs : {1, 49, 500}) {
        const auto X = matrix(rows, 64);
        const linear_layer<float> layer(matrix(64, outputs), row(outputs), activation::relu, kept);
        on_every_set([&](const options& opts) {
          const row_major<float> alone = layer(X, opts);
          on_other_executors([&](const auto& executor, const char* name) {
            EXPECT_TRUE(bitwise_equal(layer(X, executor, opts), alone)) << name << " " << rows;
          });
        });
      }
}

TEST_F(StoredWeights, HaveTheSameBitsForRowsInOneCallOrInSeveral) {
  for (const weight_storage kept : storages) {
    const auto X = matrix(150, 385);
    const linear_layer<float> layer(matrix(385, 100), row(100), activation::gelu_tanh, kept);
    on_every_set([&](const options& opts) {
      const row_major<float> together = layer(X, opts);
      for (const index first : {0, 1, 3, 20})
        for (index rows = 1; rows <= 80; rows += rows < 18 ? 1 : 23)
          EXPECT_TRUE(bitwise_equal(layer(X.middleRows(first, rows), opts),
                                    together.middleRows(first, rows)))
              << first << " " << rows;
    });
  }
}

TEST_F(StoredWeights, NanAndInfinityReachExactlyTheirRow) {
  for (const weight_storage kept : storages) {
    const linear_layer<float> layer(matrix(5, 50), row(50), activation::none, kept);
    on_every_set([&](const options& opts) {
      for (const index rows : {1, 2, 4, 7, 9, 17})
        for (index poisoned = 0; poisoned < rows; ++poisoned) {
          row_major<float> X = matrix(rows, 5);
          const row_major<float> expected = layer(X, opts);
          X(poisoned, 3) = std::numeric_limits<float>::quiet_NaN();
          row_major<float> Y = layer(X, opts);
          EXPECT_TRUE(row_is_nan(Y, poisoned));
          Y.row(poisoned) = expected.row(poisoned);
          EXPECT_TRUE(bitwise_equal(Y, expected));
        }
    });
  }
}

TEST_F(StoredWeights, OfSixteenBitsMayBeNanOrInfinite) {
  row_major<float> W = row_major<float>::Ones(2, 3);
  W(0, 1) = std::numeric_limits<float>::infinity();
  W(1, 2) = std::numeric_limits<float>::quiet_NaN();
  const row_major<float> X = row_major<float>::Ones(1, 2);
  const auto Y = linear_layer<float>(W, activation::none, weight_storage::bfloat16)(X);
  EXPECT_EQ(Y(0, 0), 2);
  EXPECT_EQ(Y(0, 1), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(Y(0, 2)));
}

TEST_F(StoredWeights, SayWhatTheyAreAndWhatTheyTake) {
  const auto W = matrix(64, 100);
  const auto bytes = [&](weight_storage kept) {
    const linear_layer<float> layer(W, activation::none, kept);
    EXPECT_EQ(layer.storage(), kept);
    return layer.weight_bytes();
  };
  constexpr std::size_t weights = 64 * 144;  // outputs are filled up to panels of 48
  EXPECT_EQ(bytes(weight_storage::exact), 4 * weights);
  EXPECT_EQ(bytes(weight_storage::bfloat16), 2 * weights);
  EXPECT_EQ(bytes(weight_storage::int8), weights + 144 * sizeof(float));
  EXPECT_EQ(linear_layer<float>(W).storage(), weight_storage::exact);
  EXPECT_STREQ(name_of(weight_storage::int8), "int8");
}

TEST_F(StoredWeights, KeptExactAreThoseOfAnOrdinaryLayer) {
  const auto X = matrix(9, 64), W = matrix(64, 50);
  EXPECT_TRUE(bitwise_equal(linear_layer<float>(W, activation::relu, weight_storage::exact)(X),
                            linear_layer<float>(W, activation::relu)(X)));
}

TEST_F(StoredWeights, AreCopiedWithTheirLayer) {
  const auto X = matrix(3, 5);
  for (const weight_storage kept : storages) {
    auto W = matrix(5, 50);
    const linear_layer<float> layer(W, activation::none, kept);
    const auto expected = layer(X);
    W.setZero();
    const linear_layer<float> copy = layer;  // NOLINT(performance-unnecessary-copy-initialization)
    EXPECT_TRUE(bitwise_equal(copy(X), expected));
  }
}

TEST_F(StoredWeights, OfAWholeLayerHaveTheBitsOfALayerOfRoundedWeights) {
  const auto good = random_encoder_layer<float>(4, 13, 70, random);
  auto kept = good, exact = good;
  kept.weights = kept.self_attention.weights = weight_storage::bfloat16;
  auto& attention = exact.self_attention;
  for (auto* W : {&attention.Wq, &attention.Wk, &attention.Wv, &attention.Wo, &exact.W1, &exact.W2})
    *W = W->unaryExpr(&nearest_bfloat16).eval();
  const transformer_encoder_layer_options how{.heads = {.query = 4, .kv = 4}};
  const transformer_encoder_layer<float> layer(kept, how), rounded_layer(exact, how);
  const multi_head<float> heads(kept.self_attention, how.heads),
      rounded_heads(exact.self_attention, how.heads);
  const auto X = matrix(150, 52);
  on_every_set([&](const options& opts) {
    for (const index rows : {1, 7, 150}) {
      const auto x = X.topRows(rows);
      const row_major<float> expected = rounded_layer(x, opts);
      EXPECT_TRUE(bitwise_equal(layer(x, opts), expected)) << rows;
      EXPECT_TRUE(bitwise_equal(heads(x, opts), rounded_heads(x, opts))) << rows;
      on_other_executors([&](const auto& executor, const char* name) {
        EXPECT_TRUE(bitwise_equal(layer(x, executor, opts), expected)) << name << " " << rows;
      });
    }
  });
}

using decoder_parameters = transformer_decoder_layer_parameters<float>;

/// Every weight of a decoder's layer, and where it says how they are kept.
template <class F>
void for_each_weight(decoder_parameters& p, const F& f) {
  for (auto* attention : {&p.self_attention, &p.cross_attention})
    for (auto* W : {&attention->Wq, &attention->Wk, &attention->Wv, &attention->Wo}) f(*W);
  f(p.W1);
  f(p.W2);
}
void keep_all(decoder_parameters& p, weight_storage how) {
  p.weights = p.self_attention.weights = p.cross_attention.weights = how;
}

TEST_F(StoredWeights, OfADecoderLayerHaveTheBitsOfALayerOfRoundedWeights) {
  const decoder_shape shape{.features = 24, .memory_features = 17, .hidden = 50};
  const auto good = random_decoder_layer<float>(shape, random);
  auto kept = good, exact = good, only_feed_forward = good, exact_feed_forward = good;
  keep_all(kept, weight_storage::bfloat16);
  for_each_weight(exact, [](auto& W) { W = W.unaryExpr(&nearest_bfloat16).eval(); });
  only_feed_forward.weights = weight_storage::bfloat16;
  for (auto* W : {&exact_feed_forward.W1, &exact_feed_forward.W2})
    *W = W->unaryExpr(&nearest_bfloat16).eval();
  const transformer_layer_options how{.heads = shape.heads};
  using layer = transformer_decoder_layer<float>;
  const layer stored(kept, how), rounded_layer(exact, how), fed(only_feed_forward, how),
      rounded_feed(exact_feed_forward, how);
  const transformer_decoder<float> stack({stored, fed}),
      rounded_stack({rounded_layer, rounded_feed});
  const auto X = matrix(70, 24), M = matrix(9, 17);
  const auto causal = for_target(masks::causal_top_left{});
  EXPECT_FALSE(bitwise_equal(stored(X, M), layer(good, how)(X, M)));
  EXPECT_FALSE(bitwise_equal(fed(X, M), layer(good, how)(X, M)));
  EXPECT_FALSE(bitwise_equal(fed(X, M), stored(X, M)));
  on_every_set([&](const options& opts) {
    for (const index rows : {1, 7, 70}) {
      const auto x = X.topRows(rows);
      const row_major<float> expected = rounded_layer(x, M, causal, opts);
      EXPECT_TRUE(bitwise_equal(stored(x, M, causal, opts), expected)) << rows;
      EXPECT_TRUE(bitwise_equal(fed(x, M, causal, opts), rounded_feed(x, M, causal, opts))) << rows;
      on_other_executors([&](const auto& executor, const char* name) {
        EXPECT_TRUE(bitwise_equal(stored(x, M, causal, executor, opts), expected))
            << name << " " << rows;
      });
    }
    auto cache = stack.start(M, opts), rounded_cache = rounded_stack.start(M, opts);
    for (const index rows : {1, 3, 1}) {
      const auto x = X.topRows(rows);
      EXPECT_TRUE(
          bitwise_equal(stack.step(x, cache, opts), rounded_stack.step(x, rounded_cache, opts)));
    }
  });
}

TEST_F(StoredWeights, OfADecoderLayerInEightBitsAreThoseOfTheFormula) {
  const decoder_shape shape{.features = 24, .memory_features = 17, .hidden = 50};
  auto kept = random_decoder_layer<float>(shape, random);
  auto exact = kept;
  keep_all(kept, weight_storage::int8);
  for_each_weight(exact,
                  [](auto& W) { W = rounded(W, weight_storage::int8).template cast<float>(); });
  const auto X = matrix(13, 24), M = matrix(9, 17);
  for (const bool norm_first : {false, true}) {
    const transformer_layer_options how{.heads = shape.heads, .norm_first = norm_first};
    const transformer_decoder_layer<float> layer(kept, how);
    const auto truth = oracle::decoder_layer(oracle::widen(X), oracle::widen(M), exact, how,
                                             std::tuple<>{}, std::tuple<>{});
    // Of the sums, and of the weights, which the formula has in float.
    const double terms = 6 * 24 + 2 * 17 + 50 + 13 + 9;
    const double bound = 2 * (16 + terms) * epsilon_of<float>() * max_magnitude(truth.output);
    on_every_set(
        [&](const options& opts) { EXPECT_LE(max_error(layer(X, M, opts), truth.output), bound); });
    // What eight bits cost is more than that: the bound tells rounded weights from those given.
    auto as_given = kept;
    keep_all(as_given, weight_storage::exact);
    EXPECT_GT(max_error(transformer_decoder_layer<float>(as_given, how)(X, M), truth.output),
              bound);
  }
}

TEST_F(StoredWeights, OfADecoderLayerAreChecked) {
  const decoder_shape shape{.features = 24, .memory_features = 17, .hidden = 50};
  auto p = random_decoder_layer<float>(shape, random);
  p.W1(3, 1) = std::numeric_limits<float>::infinity();
  p.cross_attention.Wv(2, 5) = std::numeric_limits<float>::infinity();
  const transformer_layer_options how{.heads = shape.heads};
  (void)transformer_decoder_layer<float>(p, how);
  p.cross_attention.weights = weight_storage::int8;
  expect_error<argument_error>([&] { (void)transformer_decoder_layer<float>(p, how); },
                               {"transformer_decoder_layer", "weight (2, 5)"});
  p.cross_attention.weights = {};
  p.weights = weight_storage::int8;
  expect_error<argument_error>([&] { (void)transformer_decoder_layer<float>(p, how); },
                               {"transformer_decoder_layer", "weight (3, 1)"});
}

TEST_F(StoredWeights, OfAWholeLayerAreChecked) {
  auto p = random_encoder_layer<float>(2, 4, 20, random);
  p.W2(3, 1) = std::numeric_limits<float>::infinity();
  p.self_attention.Wo(2, 5) = std::numeric_limits<float>::infinity();
  const transformer_encoder_layer_options how{.heads = {.query = 2, .kv = 2}};
  (void)transformer_encoder_layer<float>(p, how);
  p.weights = weight_storage::int8;
  expect_error<argument_error>([&] { (void)transformer_encoder_layer<float>(p, how); },
                               {"transformer_encoder_layer", "weight (3, 1)"});
  p.self_attention.weights = weight_storage::int8;
  expect_error<argument_error>([&] { (void)multi_head<float>(p.self_attention, how.heads); },
                               {"multi_head", "weight (2, 5)"});
}

TEST_F(StoredWeights, OfEightBitsAreFinite) {
  const float bad[] = {std::numeric_limits<float>::infinity(),
                       std::numeric_limits<float>::quiet_NaN()};
  for (const float x : bad) {
    row_major<float> W = matrix(5, 50);
    W(2, 49) = x;
    expect_error<argument_error>(
        [&] { (void)linear_layer<float>(W, activation::none, weight_storage::int8); },
        {"linear_layer", "weight (2, 49)", "finite"});
  }
}

TEST_F(StoredWeights, OfDoubleAreExact) {
  const row_major<double> W = row_major<double>::Ones(5, 7);
  for (const weight_storage kept : storages)
    expect_error<argument_error>([&] { (void)linear_layer<double>(W, activation::none, kept); },
                                 {"weight_format", "double"});
  const linear_layer<double> layer(W, activation::none, weight_storage::exact);
  EXPECT_EQ(layer.storage(), weight_storage::exact);
}

}  // namespace
}  // namespace softlook::stored_weights_test
