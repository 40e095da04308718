// The Transformer's decoder by its definition, on the parameters the library is given.
#pragma once

#include <tuple>

#include "softlook/transformer.hpp"
#include "tests/oracle/layers.hpp"

namespace oracle {

struct decoder_layer_result {
  matrix output;
  std::vector<matrix> target_weights;  ///< of each head
  std::vector<matrix> memory_weights;
};

/// Post-norm: Vaswani et al., 2017, section 3.1; pre-norm: Xiong et al., 2020. `target` and
/// `memory_policies` are tuples of policies.
template <class T, class Target, class Memory>
decoder_layer_result decoder_layer(const matrix& X, const matrix& memory,
                                   const softlook::transformer_decoder_layer_parameters<T>& p,
                                   const softlook::transformer_layer_options& o,
                                   const Target& target, const Memory& memory_policies) {
  const auto norm = [&](const matrix& of, const auto& gain, const auto& bias) {
    return layer_norm(of, widen(gain), widen(bias), static_cast<real>(o.epsilon));
  };
  const auto attend = [&](const matrix& q, const matrix& k, const auto& weights,
                          const auto& policies) {
    return std::apply(
        [&](const auto&... ps) { return oracle::multi_head(q, k, k, weights, o.heads, ps...); },
        policies);
  };
  const auto feed_forward = [&](const matrix& of) {
    return linear(linear(of, widen(p.W1), widen(p.b1), o.activation), widen(p.W2), widen(p.b2));
  };
  decoder_layer_result result;
  if (o.norm_first) {
    const matrix seen = norm(X, p.gain1, p.bias1);
    const auto self = attend(seen, seen, p.self_attention, target);
    matrix x = sum(X, self.output);
    const auto cross =
        attend(norm(x, p.gain2, p.bias2), memory, p.cross_attention, memory_policies);
    x = sum(x, cross.output);
    result = {sum(x, feed_forward(norm(x, p.gain3, p.bias3))), self.weights, cross.weights};
  } else {
    const auto self = attend(X, X, p.self_attention, target);
    matrix x = norm(sum(X, self.output), p.gain1, p.bias1);
    const auto cross = attend(x, memory, p.cross_attention, memory_policies);
    x = norm(sum(x, cross.output), p.gain2, p.bias2);
    result = {norm(sum(x, feed_forward(x)), p.gain3, p.bias3), self.weights, cross.weights};
  }
  return result;
}

}  // namespace oracle
