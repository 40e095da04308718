#include "layer_gradients.hpp"

#include <softlook/gradient/multi_head.hpp>

#include "layer_policies.hpp"

namespace conformance {
namespace {

template <class Stack, class Call>
Stack stack_of(const Call& call) {
  Stack p;
  p.layers = call.layers;
  if (call.final_norm) p.final_norm = {call.final_norm->gain, call.final_norm->bias};
  return p;
}

grid like(const grid& g) { return grid::zeros(g.batches, 1, g.rows, g.cols); }

}  // namespace

multi_head_gradients gradients_of(const mode& m, const multi_head_call& call, bool self,
                                  const grid& dY) {
  multi_head_gradients to{like(call.Q), {}, {}, softlook::zeros_like(call.parameters)};
  if (!self) {
    to.K = like(call.K);
    to.V = like(call.V);
  }
  const softlook::options how = m.options(call.scale);
  softlook::saved_multi_head<double> saved;
  for (index b = 0; b < call.Q.batches; ++b) {
    const matrix<double> q = call.Q.head<double>(b, 0), k = call.K.head<double>(b, 0),
                         v = call.V.head<double>(b, 0), dO = dY.head<double>(b, 0);
    with_policies<double>(call.masks, b, q.rows(), k.rows(), [&](const auto&... policies) {
      if (self)
        softlook::multi_head_forward(call.parameters, call.heads, q, saved, policies..., how);
      else
        softlook::multi_head_forward(call.parameters, call.heads, q, k, v, saved, policies..., how);
      softlook::multi_head_backward(call.parameters, call.heads, saved, dO, to.weights, policies...,
                                    how);
    });
    to.Q.set_head<double>(b, 0, saved.dQ);
    if (self) continue;
    to.K.set_head<double>(b, 0, saved.dK);
    to.V.set_head<double>(b, 0, saved.dV);
  }
  return to;
}

encoder_gradients gradients_of(const mode& m, const encoder_call& call, const grid& dY) {
  const auto p = stack_of<softlook::transformer_encoder_parameters<double>>(call);
  encoder_gradients to{like(call.X), softlook::zeros_like(p)};
  const softlook::options how = m.options(std::nullopt);
  softlook::saved_transformer_encoder<double> saved;
  for (index b = 0; b < call.X.batches; ++b) {
    const matrix<double> x = call.X.head<double>(b, 0);
    with_policies<double>(call.masks, b, x.rows(), x.rows(), [&](const auto&... policies) {
      softlook::transformer_encoder_forward(p, call.options, x, saved, policies..., how);
      softlook::transformer_encoder_backward(p, call.options, saved,
                                             matrix<double>(dY.head<double>(b, 0)), to.weights,
                                             policies..., how);
    });
    to.X.set_head<double>(b, 0, saved.dX);
  }
  return to;
}

decoder_gradients gradients_of(const mode& m, const decoder_call& call, const grid& dY) {
  const auto p = stack_of<softlook::transformer_decoder_parameters<double>>(call);
  decoder_gradients to{like(call.X), like(call.memory), softlook::zeros_like(p)};
  const softlook::options how = m.options(std::nullopt);
  softlook::saved_transformer_decoder<double> saved;
  for (index b = 0; b < call.X.batches; ++b) {
    const matrix<double> x = call.X.head<double>(b, 0), memory = call.memory.head<double>(b, 0);
    const auto run = [&](const auto& target, const auto& seen) {
      softlook::transformer_decoder_forward(p, call.options, x, memory, saved, target, seen, how);
      softlook::transformer_decoder_backward(p, call.options, saved,
                                             matrix<double>(dY.head<double>(b, 0)), to.weights,
                                             target, seen, how);
    };
    with_policies<double>(call.target_masks, b, x.rows(), x.rows(), [&](const auto&... target) {
      with_policies<double>(call.memory_masks, b, x.rows(), memory.rows(),
                            [&](const auto&... seen) {
                              run(softlook::for_target(target...), softlook::for_memory(seen...));
                            });
    });
    to.X.set_head<double>(b, 0, saved.dX);
    to.memory.set_head<double>(b, 0, saved.dmemory);
  }
  return to;
}

}  // namespace conformance
