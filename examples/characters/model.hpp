#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <softlook/gradients.hpp>
#include <softlook/mask/segment.hpp>
#include <softlook/positional.hpp>
#include <softlook/transformer.hpp>

#include "examples/training/random.hpp"

// A language model of characters: a causal Transformer of pre-norm layers with rotary positions,
// between an embedding and a linear map to logits.

namespace characters {

using softlook::index;

struct sizes {
  index known = 1;  ///< characters
  index features = 96;
  index heads = 4;
  index hidden = 384;
  index layers = 2;
};

template <class T>
struct parameters {
  softlook::token_embedding_parameters<T> embedding{};
  softlook::transformer_encoder_parameters<T> stack{};
  softlook::linear_parameters<T> output{};

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("embedding", p.embedding...);
    f("stack", p.stack...);
    f("output", p.output...);
  }
};

[[nodiscard]] inline softlook::transformer_layer_options options_of(index heads) {
  return {.heads = {.query = heads}, .norm_first = true};
}

/// Weights before training: normal, of deviation 1/√inputs; those that write to the residual
/// stream smaller, for it is a sum over all layers.
/// \see Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3.
template <class T>
parameters<T> first_weights(const sizes& s, examples::generator& random) {
  const double residual = 1 / std::sqrt(2.0 * double(s.layers));
  const auto matrix = [&random](index rows, index cols, double factor = 1) {
    typename softlook::linear_parameters<T>::matrix W(rows, cols);
    examples::fill_normal(W, factor / std::sqrt(double(rows)), random);
    return W;
  };
  using row = typename softlook::linear_parameters<T>::row;
  const auto constant = [](index cols, T value) { return row(row::Constant(cols, value)); };
  const index d = s.features;
  const index head = d / s.heads;
  softlook::rotary_embedding<T> rotary(softlook::rotary_frequencies(head), {.head_features = head});
  rotary.precompute(1024);
  parameters<T> p;
  p.embedding.tokens.resize(s.known, d);
  examples::fill_normal(p.embedding.tokens, 0.5, random);
  p.stack.layers.resize(std::size_t(s.layers));
  for (auto& layer : p.stack.layers) {
    layer.self_attention.Wq = matrix(d, d);
    layer.self_attention.Wk = matrix(d, d);
    layer.self_attention.Wv = matrix(d, d);
    layer.self_attention.Wo = matrix(d, d, residual);
    layer.self_attention.rotary = rotary;
    layer.W1 = matrix(d, s.hidden);
    layer.b1 = constant(s.hidden, 0);
    layer.W2 = matrix(s.hidden, d, residual);
    layer.b2 = constant(d, 0);
    layer.gain1 = constant(d, 1);
    layer.bias1 = constant(d, 0);
    layer.gain2 = constant(d, 1);
    layer.bias2 = constant(d, 0);
  }
  p.stack.final_norm.gain = constant(d, 1);
  p.stack.final_norm.bias = constant(d, 0);
  p.output.W = matrix(d, s.known, 0.5);
  p.output.b = constant(s.known, 0);
  return p;
}

template <class T>
struct saved {
  softlook::saved_token_embedding<T> embedding{};
  softlook::saved_transformer_encoder<T> stack{};
  softlook::saved_linear<T> output{};
};

/// Logits of what follows each of n characters, n×known. They are pieces of a text, of `length`
/// characters each and one behind the other: one call for all, in which a character sees those of
/// its own piece. Positions are those in the call, which is no matter to rotary ones: they tell
/// only how far characters are from each other.
/// \param policies  an executor, options.
/// \throws softlook::argument_error, softlook::shape_error  for a character that is unknown, or
///         weights that do not fit.
template <class T, class... Ps>
const auto& forward(const parameters<T>& p, index heads, std::span<const std::int32_t> text,
                    index length, saved<T>& s, const Ps&... policies) {
  const auto& X = softlook::token_embedding_forward(p.embedding, text, s.embedding);
  const auto& Y = softlook::causal_transformer_forward(
      p.stack, options_of(heads), X, s.stack, softlook::masks::same_segment{length}, policies...);
  return softlook::linear_forward(p.output, Y, s.output, softlook::activation::none, policies...);
}

/// Adds the gradients of all weights, of dlogits.
template <class T, class G, class... Ps>
void backward(const parameters<T>& p, index heads, index length, saved<T>& s, const G& dlogits,
              parameters<T>& gradients, const Ps&... policies) {
  const auto& dY = softlook::linear_backward(p.output, s.output, dlogits, gradients.output,
                                             softlook::activation::none, policies...);
  const auto& dX = softlook::causal_transformer_backward(
      p.stack, options_of(heads), s.stack, dY, gradients.stack,
      softlook::masks::same_segment{length}, policies...);
  softlook::token_embedding_backward(p.embedding, s.embedding, dX, gradients.embedding);
}

}  // namespace characters
