#include "softlook/gradient/transformer.hpp"

#include "softlook/positional.hpp"
#include "softlook/transformer.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/kernels.hpp"

namespace softlook::transformer_test {
namespace {

using namespace softlook_test;
using matrix = row_major<double>;
using weight = multi_head_parameters<double>::matrix;
using row = multi_head_parameters<double>::row;
using encoder_weights = transformer_encoder_layer_parameters<double>;
using decoder_weights = transformer_decoder_layer_parameters<double>;

constexpr index features = 4, hidden = 3, memory_features = 3;

multi_head_parameters<double> attention_of(index keys, index kv_columns, generator& random) {
  const auto weights = [&](index rows, index cols) {
    return random_matrix<weight>(rows, cols, random, 0.6);
  };
  multi_head_parameters<double> p;
  p.Wq = weights(features, 4);
  p.Wk = weights(keys, kv_columns);
  p.Wv = weights(keys, kv_columns);
  p.Wo = weights(4, features);
  p.bq = random_matrix<row>(1, 4, random);
  p.bv = random_matrix<row>(1, kv_columns, random);
  p.bo = random_matrix<row>(1, features, random);
  return p;
}

template <class Parameters>
void set_rows(Parameters& p, bool gate, generator& random) {
  p.W1 = random_matrix<weight>(features, hidden, random, 0.6);
  p.b1 = random_matrix<row>(1, hidden, random);
  p.W2 = random_matrix<weight>(hidden, features, random, 0.6);
  p.b2 = random_matrix<row>(1, features, random);
  if (gate) p.W3 = random_matrix<weight>(features, hidden, random, 0.6);
  p.gain1 = random_matrix<row>(1, features, random);
  p.bias1 = random_matrix<row>(1, features, random);
  p.gain2 = random_matrix<row>(1, features, random);
  p.bias2 = random_matrix<row>(1, features, random);
}

encoder_weights encoder_of(index kv_columns, bool gate, generator& random) {
  encoder_weights p;
  p.self_attention = attention_of(features, kv_columns, random);
  set_rows(p, gate, random);
  return p;
}
decoder_weights decoder_of(generator& random) {
  decoder_weights p;
  p.self_attention = attention_of(features, 4, random);
  p.cross_attention = attention_of(memory_features, 4, random);
  set_rows(p, false, random);
  p.gain3 = random_matrix<row>(1, features, random);
  p.bias3 = random_matrix<row>(1, features, random);
  return p;
}

/// Both orders of the norms.
transformer_layer_options form(bool norm_first) {
  return {.heads = {.query = 2},
          .activation = activation::gelu,
          .norm_first = norm_first,
          .epsilon = 0.01};
}

/// Output, gradients of the rows and of the weights.
template <class... Ps>
void expect_encoder_gradients(encoder_weights& p, const transformer_layer_options& o, matrix& X,
                              const matrix& dY, const Ps&... ps) {
  saved_transformer_encoder_layer<double> saved, other;
  const matrix Y = transformer_encoder_layer_forward(p, o, X, saved, ps...);
  EXPECT_LE((Y - transformer_encoder_layer<double>(p, o)(X, ps...)).cwiseAbs().maxCoeff(), 1e-12);
  encoder_weights gradients = zeros_like(p);
  const matrix dX = transformer_encoder_layer_backward(p, o, saved, dY, gradients, ps...);
  const auto loss = [&] {
    return inner_product(dY, transformer_encoder_layer_forward(p, o, X, other, ps...));
  };
  expect_gradient("X", X, dX, loss);
  expect_parameter_gradients(p, gradients, loss);
  EXPECT_GT(saved.bytes(), 0U);
}

/// And of the memory.
template <class... Ps>
void expect_decoder_gradients(decoder_weights& p, const transformer_layer_options& o, matrix& X,
                              matrix& memory, const matrix& dY, const Ps&... ps) {
  saved_transformer_decoder_layer<double> saved, other;
  const matrix Y = transformer_decoder_layer_forward(p, o, X, memory, saved, ps...);
  const matrix expected = transformer_decoder_layer<double>(p, o)(X, memory, ps...);
  EXPECT_LE((Y - expected).cwiseAbs().maxCoeff(), 1e-12);
  decoder_weights gradients = zeros_like(p);
  const matrix dX = transformer_decoder_layer_backward(p, o, saved, dY, gradients, ps...);
  const auto loss = [&] {
    return inner_product(dY, transformer_decoder_layer_forward(p, o, X, memory, other, ps...));
  };
  expect_gradient("X", X, dX, loss);
  expect_gradient("memory", memory, saved.dmemory, loss);
  expect_parameter_gradients(p, gradients, loss);
}

TEST(TransformerGradient, OfAnEncoderLayerIsThatOfDifferences) {
  generator random = seed(16051);
  for (const bool first : {false, true}) {
    encoder_weights p = encoder_of(4, false, random);
    matrix X = random_matrix<matrix>(3, features, random);
    const matrix dY = random_matrix<matrix>(3, features, random);
    expect_encoder_gradients(p, form(first), X, dY);
  }
}

TEST(TransformerGradient, OfADecoderLayerIsThatOfDifferences) {
  generator random = seed(16052);
  for (const bool first : {false, true}) {
    decoder_weights p = decoder_of(random);
    matrix X = random_matrix<matrix>(3, features, random),
           memory = random_matrix<matrix>(2, memory_features, random);
    const matrix dY = random_matrix<matrix>(3, features, random);
    expect_decoder_gradients(p, form(first), X, memory, dY, for_target(masks::causal_top_left{}),
                             options{.scale = 0.9});
  }
}

TEST(TransformerGradient, OfSeveralSequencesIsThatOfDifferences) {
  generator random = seed(16056);
  const std::int32_t at[] = {0, 2, 5}, memory_at[] = {0, 3, 4};
  decoder_weights p = decoder_of(random);
  matrix X = random_matrix<matrix>(5, features, random),
         memory = random_matrix<matrix>(4, memory_features, random);
  const matrix dY = random_matrix<matrix>(5, features, random);
  expect_decoder_gradients(p, form(true), X, memory, dY,
                           for_target(segments{at}, masks::causal_top_left{}),
                           for_memory(segments{at, memory_at}));
  encoder_weights e = encoder_of(4, true, random);
  expect_encoder_gradients(e, form(true), X, dY, segments{at});
}

TEST(TransformerGradient, OfStacksIsThatOfDifferences) {
  generator random = seed(16053);
  transformer_encoder_parameters<double> p;
  for (int k = 0; k < 2; ++k) p.layers.push_back(encoder_of(4, false, random));
  const transformer_layer_options o = form(true);
  matrix X = random_matrix<matrix>(3, features, random);
  const matrix dY = random_matrix<matrix>(3, features, random);
  for (const bool last : {false, true}) {
    if (last)
      p.final_norm = {random_matrix<row>(1, features, random),
                      random_matrix<row>(1, features, random)};
    saved_transformer_encoder<double> saved, other;
    const matrix Y = transformer_encoder_forward(p, o, X, saved);
    transformer_encoder_parameters<double> gradients = zeros_like(p);
    const matrix dX = transformer_encoder_backward(p, o, saved, dY, gradients);
    const auto loss = [&] {
      return inner_product(dY, transformer_encoder_forward(p, o, X, other));
    };
    expect_gradient("X", X, dX, loss);
    expect_parameter_gradients(p, gradients, loss);
    std::vector<transformer_encoder_layer<double>> layers;
    for (const auto& l : p.layers) layers.emplace_back(l, o);
    std::optional<layer_norm<double>> norm;
    if (last) norm = layer_norm<double>(p.final_norm.gain, p.final_norm.bias, o.epsilon);
    EXPECT_LE((Y - transformer_encoder<double>(layers, norm)(X)).cwiseAbs().maxCoeff(), 1e-12);
  }
}

TEST(TransformerGradient, OfAStackOfDecodersAddsUpThatOfTheMemory) {
  generator random = seed(16054);
  transformer_decoder_parameters<double> p;
  for (int k = 0; k < 2; ++k) p.layers.push_back(decoder_of(random));
  p.final_norm = {random_matrix<row>(1, features, random), {}};
  const transformer_layer_options o = form(true);
  matrix X = random_matrix<matrix>(2, features, random),
         memory = random_matrix<matrix>(3, memory_features, random);
  const matrix dY = random_matrix<matrix>(2, features, random);
  saved_transformer_decoder<double> saved, other;
  transformer_decoder_forward(p, o, X, memory, saved);
  transformer_decoder_parameters<double> gradients = zeros_like(p);
  const matrix dX = transformer_decoder_backward(p, o, saved, dY, gradients);
  const auto loss = [&] {
    return inner_product(dY, transformer_decoder_forward(p, o, X, memory, other));
  };
  expect_gradient("X", X, dX, loss);
  expect_gradient("memory", memory, saved.dmemory, loss);
  expect_parameter_gradients(p, gradients, loss);
}

/// The layers of language models: RMS norms, rotary positions, grouped heads, a gate.
TEST(TransformerGradient, OfACausalTransformerIsThatOfDifferences) {
  generator random = seed(16055);
  transformer_encoder_parameters<double> p;
  for (int k = 0; k < 2; ++k) {
    encoder_weights layer = encoder_of(2, true, random);
    layer.self_attention.rotary = rotary_embedding<double>(rotary_frequencies(2, 10));
    layer.bias1.resize(0);
    layer.bias2.resize(0);
    p.layers.push_back(layer);
  }
  p.final_norm.gain = random_matrix<row>(1, features, random);
  const transformer_layer_options o{.heads = {.query = 2, .kv = 1},
                                    .activation = activation::silu,
                                    .norm_first = true,
                                    .epsilon = 0.01,
                                    .norm = norm_kind::rms};
  matrix X = random_matrix<matrix>(4, features, random);
  const matrix dY = random_matrix<matrix>(4, features, random);
  saved_transformer_encoder<double> saved, other;
  const matrix Y = causal_transformer_forward(p, o, X, saved);
  std::vector<transformer_encoder_layer<double>> layers;
  for (const auto& l : p.layers) layers.emplace_back(l, o);
  const causal_transformer<double> model(layers, rms_norm<double>(p.final_norm.gain, o.epsilon));
  auto seen = model.start();
  EXPECT_LE((Y - model.step(X, seen)).cwiseAbs().maxCoeff(), 1e-12);
  transformer_encoder_parameters<double> gradients = zeros_like(p);
  const matrix dX = causal_transformer_backward(p, o, saved, dY, gradients);
  const auto loss = [&] { return inner_product(dY, causal_transformer_forward(p, o, X, other)); };
  expect_gradient("X", X, dX, loss);
  expect_parameter_gradients(p, gradients, loss);
}

TEST(TransformerGradient, RefusesWhatDoesNotFit) {
  generator random = seed(16056);
  const transformer_layer_options o = form(true);
  transformer_encoder_parameters<double> p;
  saved_transformer_encoder<double> saved;
  const matrix X = random_matrix<matrix>(3, features, random);
  expect_error<argument_error>([&] { transformer_encoder_forward(p, o, X, saved); },
                               {"transformer_encoder_forward", "layers.size()", "0"});
  for (int k = 0; k < 2; ++k) p.layers.push_back(encoder_of(4, false, random));
  p.layers[1].gain2.resize(3);
  expect_error<shape_error>([&] { transformer_encoder_forward(p, o, X, saved); },
                            {"gain2.size() is 3", "is 4"});
  p.layers[1].gain2 = p.layers[0].gain2;
  expect_error<shape_error>([&] { transformer_encoder_forward(p, o, matrix::Zero(2, 3), saved); },
                            {"cols() is 3", "Wq.rows() is 4"});
  EXPECT_TRUE(saved.rows.layers.empty());
  transformer_encoder_forward(p, o, X, saved);
  transformer_encoder_parameters<double> gradients = zeros_like(p);
  expect_error<shape_error>(
      [&] { transformer_encoder_backward(p, o, saved, matrix::Zero(2, features), gradients); },
      {"dY.rows() is 2", "is 3"});
  EXPECT_EQ(gradients.layers[0].W1.cwiseAbs().maxCoeff(), 0);
  gradients.layers.pop_back();
  expect_error<shape_error>([&] { transformer_encoder_backward(p, o, saved, X, gradients); },
                            {"gradients.layers.size() is 1", "is 2"});
}

TEST(TransformerGradient, OfFloatIsThatOfDouble) {
  generator random = seed(16058);
  const auto wide = encoder_of(4, true, random);
  const auto narrow = cast_parameters<float>(wide);
  auto gradients = zeros_like(wide);
  auto narrow_gradients = zeros_like(narrow);
  saved_transformer_encoder_layer<double> saved;
  saved_transformer_encoder_layer<float> saved_narrow;
  const matrix X = random_matrix<matrix>(7, features, random),
               dY = random_matrix<matrix>(7, features, random);
  transformer_encoder_layer_forward(wide, form(true), X, saved);
  transformer_encoder_layer_backward(wide, form(true), saved, dY, gradients);
  transformer_encoder_layer_forward(narrow, form(true), X.cast<float>(), saved_narrow);
  transformer_encoder_layer_backward(narrow, form(true), saved_narrow, dY.cast<float>(),
                                     narrow_gradients);
  expect_same_gradient("X", saved_narrow.dX, saved.dX);
  expect_same_parameter_gradients(narrow_gradients, gradients);
}

TEST(TransformerGradient, IsFiniteInFloat) {
  generator random = seed(16057);
  const auto p = cast_parameters<float>(encoder_of(4, true, random));
  auto gradients = zeros_like(p);
  saved_transformer_encoder_layer<float> saved;
  const row_major<float> X = row_major<float>::Constant(3, features, 2.F);  // rows without variance
  transformer_encoder_layer_forward(p, form(false), X, saved);
  EXPECT_TRUE(transformer_encoder_layer_backward(p, form(false), saved, X, gradients).allFinite());
  EXPECT_TRUE(gradients.self_attention.Wq.allFinite());
}

}  // namespace
}  // namespace softlook::transformer_test
