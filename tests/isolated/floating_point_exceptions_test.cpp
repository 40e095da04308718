// Finite input raises neither FE_INVALID nor FE_DIVBYZERO, padded lanes and empty rows included.
// A program of its own, because the exceptions are trapped: the first one ends it.
#include <gtest/gtest.h>

#include "softlook/exec/thread_pool.hpp"
#include "softlook/layer/linear_layer.hpp"
#include "softlook/seq2seq/bahdanau_attention.hpp"
#include "softlook/seq2seq/luong_attention.hpp"
#include "softlook/transformer/encoder.hpp"
#include "tests/support/floating_point.hpp"
#include "tests/support/layers.hpp"
#include "tests/support/random.hpp"
#include "tests/support/ways.hpp"

namespace softlook {
namespace {

using namespace softlook_test;

template <class T>
class FloatingPointExceptions : public ::testing::Test {
 protected:
  problem_inputs<T> p =
      random_problem<T>({.queries = 53, .keys = 67, .features = 7, .values = 5}, seed(401));

  template <class... Policies>
  void expect_none(const Policies&... policies) const {
    for (const index queries : {index{1}, index{3}, p.Q.rows()}) {
      const row_major<T> Q = p.Q.topRows(queries);
      for (const way& which : every_way()) {
        SCOPED_TRACE(which.name);
        row_major<T> output;
        {
          const no_exceptions trapped;
          output = attention_with_log_sum_exp(Q, p.K, p.V, policies..., which.opts).output;
        }
        EXPECT_EQ(output.rows(), queries);
      }
    }
  }
};
TYPED_TEST_SUITE(FloatingPointExceptions, scalars, scalar_names);

TYPED_TEST(FloatingPointExceptions, NoneWithoutAMask) { this->expect_none(); }

TYPED_TEST(FloatingPointExceptions, NoneOnAThreadPool) {
  const exec::thread_pool pool(3);
  this->expect_none(pool);
}

TYPED_TEST(FloatingPointExceptions, NoneUnderMasks) {
  this->expect_none(masks::causal_top_left{});
  this->expect_none(masks::causal_bottom_right{});
  this->expect_none(masks::window{.left = 3, .right = 1});
  this->expect_none(masks::padding{.length = 30});
}

TYPED_TEST(FloatingPointExceptions, NoneForEmptyRows) {
  this->expect_none(masks::causal{.offset = -20});
  this->expect_none(masks::padding{.length = 0});
  this->expect_none(masks::where([](std::int32_t i, std::int32_t) { return i % 2 == 0; }));
}

TYPED_TEST(FloatingPointExceptions, NoneForABiasOfMinusInfinity) {
  using T = TypeParam;
  row_major<T> B = row_major<T>::Zero(1, 67);
  B.leftCols(40).setConstant(-std::numeric_limits<T>::infinity());
  this->expect_none(transforms::bias{B});
  B.setConstant(-std::numeric_limits<T>::infinity());
  this->expect_none(transforms::bias{B});
}

TYPED_TEST(FloatingPointExceptions, NoneUnderTransforms) {
  this->expect_none(transforms::soft_cap{2.0});
  this->expect_none(transforms::alibi{0.5}, masks::causal_bottom_right{});
}

TYPED_TEST(FloatingPointExceptions, NoneForScoresOfAnySize) {
  const auto K = this->p.K;
  for (const double size : {0.0, 1e-30, 1e-4, 10.0, 1e4, 1e15}) {
    this->p.K = K * static_cast<TypeParam>(size);
    this->expect_none();
  }
}

TYPED_TEST(FloatingPointExceptions, NoneForSubnormalNumbers) {
  this->p.Q *= std::numeric_limits<TypeParam>::denorm_min() * 50;
  this->p.V *= std::numeric_limits<TypeParam>::denorm_min() * 50;
  this->expect_none();
}

TYPED_TEST(FloatingPointExceptions, NoneForCosineOfZeroVectors) {
  this->p.Q.row(0).setZero();
  this->p.K.topRows(3).setZero();
  this->expect_none(scores::cosine{});
}

TYPED_TEST(FloatingPointExceptions, NoneForAdditiveScoresOfAnySize) {
  using T = TypeParam;
  auto random = seed(402);
  const auto v = random_matrix<column<T>>(7, 1, random);
  const auto clean = this->p;
  for (const double size : {0.0, 1e-30, 1e-4, 1.0, 20.0, 44.0, 89.0, 1e4, 1e30}) {
    this->p.Q = clean.Q * static_cast<T>(size);
    this->p.K = clean.K * static_cast<T>(size);
    this->expect_none(scores::additive_projected{v});
    this->p.K = -this->p.K;
    this->expect_none(scores::additive_projected{v}, masks::causal{.offset = -20});
  }
}

// Forms are made in whole vectors, which reach into the keys of the next panel.
TYPED_TEST(FloatingPointExceptions, NoneForAdditiveScoresBesideHugeKeys) {
  using T = TypeParam;
  auto random = seed(407);
  const auto v = random_matrix<column<T>>(7, 1, random);
  for (const index first : {4, 8, 16}) {
    const auto clean = this->p;
    for (index j = first; j < this->p.K.rows(); j += 2 * first)
      this->p.K.middleRows(j, std::min(first, this->p.K.rows() - j)) *= T(1e30);
    this->expect_none(scores::additive_projected{v});
    this->p = clean;
  }
}

TYPED_TEST(FloatingPointExceptions, NoneForProjections) {
  using T = TypeParam;
  auto random = seed(403);
  const auto W = random_matrix<row_major<T>>(7, 7, random);
  const auto v = random_matrix<column<T>>(7, 1, random);
  this->expect_none(scores::general{W});
  this->expect_none(scores::additive{W, W, v});
}

TYPED_TEST(FloatingPointExceptions, NoneForEdgeSizes) {
  using T = TypeParam;
  for (const index m : {0, 1, 2}) {
    for (const index d : {0, 1}) {
      this->p = random_problem<T>({.queries = 5, .keys = m, .features = d, .values = 3}, seed(404));
      this->expect_none();
    }
  }
}

TYPED_TEST(FloatingPointExceptions, NoneInMergesWithEmptyStates) {
  using matrix = row_major<TypeParam>;
  const auto state = attention_with_log_sum_exp(this->p.Q, this->p.K, this->p.V);
  const auto empty = empty_state<matrix>(53, 5);
  const no_exceptions trapped;
  (void)merge(state, empty);
  (void)merge(empty, state);
  (void)merge(empty, empty);
  (void)merge(state, state);
}

TYPED_TEST(FloatingPointExceptions, NoneInDecoderSteps) {
  using T = TypeParam;
  auto random = seed(405);
  const auto W = random_matrix<row_major<T>>(7, 7, random);
  const auto v = random_matrix<column<T>>(7, 1, random);
  bahdanau_attention<T> bahdanau(scores::additive{W, W, v});
  luong_attention<T> luong(scores::general{W});
  const no_exceptions trapped;
  for (const index length : {0, 1, 40}) {
    bahdanau.set_memory(this->p.K, this->p.V, length);
    luong.set_memory(this->p.K, this->p.V, length);
    (void)bahdanau.step(this->p.Q.row(2));
    (void)luong.step(this->p.Q.row(2));
  }
}

template <class T, class Layer, class... Policies>
void expect_none_of(const Layer& layer, const row_major<T>& X, const Policies&... policies) {
  on_every_set([&](const options& opts) {
    const no_exceptions trapped;
    (void)layer(X, policies..., opts);
  });
}

TYPED_TEST(FloatingPointExceptions, NoneInProjectionsOfAnyShapeAndSize) {
  using T = TypeParam;
  auto random = seed(406);
  const exec::thread_pool pool(3);
  for (const auto f : {activation::none, activation::relu, activation::gelu, activation::gelu_tanh})
    for (const index inputs : {0, 1, 7, 65})
      for (const index outputs : {1, 17, 49, 100}) {
        const linear_layer<T> layer(random_matrix<row_major<T>>(inputs, outputs, random),
                                    random_matrix<row_vector<T>>(1, outputs, random), f);
        for (const index rows : {0, 1, 5, 17})
          for (const double size : {0.0, 1e-30, 1.0, 30.0, 1e15}) {
            const auto X = random_matrix<row_major<T>>(rows, inputs, random, size);
            expect_none_of<T>(layer, X);
            expect_none_of<T>(layer, X, pool);
          }
      }
}

TYPED_TEST(FloatingPointExceptions, NoneInActivationsOfAnyFiniteNumber) {
  using T = TypeParam;
  column<T> x(4001 + 10);
  x.head(4001) = column<T>::LinSpaced(4001, T(-50), T(50));
  const T tiny = std::numeric_limits<T>::denorm_min(), small = std::numeric_limits<T>::min(),
          large = std::numeric_limits<T>::max();
  x.tail(10) << T(0), -T(0), tiny, -tiny, small, -small, T(1e30), T(-1e30), large, -large;
  for (const auto f : {activation::relu, activation::gelu, activation::gelu_tanh})
    expect_none_of<T>(linear_layer<T>(row_major<T>::Ones(1, 1), f), x);
}

TYPED_TEST(FloatingPointExceptions, NoneInLayerNormsOfAnyShapeAndConstantRows) {
  using T = TypeParam;
  auto random = seed(407);
  for (const index features : {1, 2, 3, 15, 17, 33, 385}) {
    const layer_norm<T> layer(random_matrix<row_vector<T>>(1, features, random),
                              random_matrix<row_vector<T>>(1, features, random));
    for (const index rows : {0, 1, 5, 33})
      for (const double size : {0.0, 1e-30, 1.0, 1e12}) {
        expect_none_of<T>(layer, random_matrix<row_major<T>>(rows, features, random, size));
        expect_none_of<T>(layer, row_major<T>::Constant(rows, features, T(size)));
      }
  }
  const layer_norm<T> without_epsilon(row_vector<T>::Ones(17), row_vector<T>(), 0);
  expect_none_of<T>(without_epsilon, random_matrix<row_major<T>>(5, 17, random));
}

TYPED_TEST(FloatingPointExceptions, NoneInMultiHeadLayers) {
  using T = TypeParam;
  auto random = seed(408);
  const multi_head_shape shape{.features = 7,
                               .key_features = 7,
                               .value_features = 7,
                               .query_heads = 6,
                               .kv_heads = 3,
                               .head_features = 3,
                               .head_values = 5,
                               .outputs = 9};
  for (const bool extra : {false, true}) {
    auto weights = random_multi_head<T>(shape, random);
    weights.add_zero_attn = extra;
    if (extra) {
      weights.bias_k = random_matrix<row_vector<T>>(1, weights.Wk.cols(), random);
      weights.bias_v = random_matrix<row_vector<T>>(1, weights.Wv.cols(), random);
    }
    const multi_head<T> layer(weights, shape.heads());
    for (const index rows : {0, 1, 3, 40}) {
      const auto X = random_matrix<row_major<T>>(rows, 7, random);
      expect_none_of<T>(layer, X);
      expect_none_of<T>(layer, X, masks::causal{.offset = -2});
      expect_none_of<T>(layer, X, masks::padding{.length = 0});
      const no_exceptions trapped;
      (void)layer.with_weights(X, masks::causal_top_left{});
    }
  }
}

TYPED_TEST(FloatingPointExceptions, NoneInEncoders) {
  using T = TypeParam;
  auto random = seed(409);
  const exec::thread_pool pool(3);
  for (const bool norm_first : {false, true})
    for (const auto f : {activation::relu, activation::gelu, activation::gelu_tanh}) {
      std::vector<transformer_encoder_layer<T>> layers;
      for (int l = 0; l < 2; ++l)
        layers.emplace_back(random_encoder_layer<T>(3, 5, 31, random),
                            transformer_encoder_layer_options{
                                .heads = {.query = 3}, .activation = f, .norm_first = norm_first});
      const transformer_encoder<T> stack(layers,
                                         layer_norm<T>(row_vector<T>::Ones(15), row_vector<T>()));
      for (const index rows : {0, 1, 3, 40}) {
        expect_none_of<T>(stack, random_matrix<row_major<T>>(rows, 15, random));
        expect_none_of<T>(stack, row_major<T>::Zero(rows, 15), pool);
        expect_none_of<T>(stack, random_matrix<row_major<T>>(rows, 15, random, 1e6),
                          masks::padding{.length = rows / 2});
      }
    }
}

}  // namespace
}  // namespace softlook
