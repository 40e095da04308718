#include "layers.hpp"

#include <algorithm>
#include <softlook/core/parameters.hpp>

#include "layer_error.hpp"
#include "layer_policies.hpp"

namespace conformance {
namespace {

namespace transforms = softlook::transforms;

/// The norm at the end of a stack.
template <class T>
std::optional<softlook::layer_norm<T>> norm_of(const std::optional<norm_parameters>& p,
                                               double epsilon) {
  if (!p) return std::nullopt;
  return softlook::layer_norm<T>(p->gain.cast<T>(), p->bias.cast<T>(), epsilon);
}

template <class T>
layer_answer run_multi_head(const mode& m, const multi_head_call& call) {
  const softlook::multi_head<T> layer(softlook::cast_parameters<T>(call.parameters), call.heads);
  const grid &Q = call.Q, &K = call.K, &V = call.V;
  layer_answer answer;
  answer.output = grid::zeros(Q.batches, 1, Q.rows, layer.outputs());
  if (call.wants_weights)
    answer.weights = grid::zeros(Q.batches, call.heads.query, Q.rows, K.rows + layer.extra_keys());
  for (index b = 0; b < Q.batches; ++b) {
    const matrix<T> q = Q.head<T>(b, 0), k = K.head<T>(b, 0), v = V.head<T>(b, 0);
    const softlook::options how = m.options(call.scale);
    const auto solve = [&](const auto&... policies) {
      if (!call.wants_weights)
        return answer.output.set_head<T>(b, 0, layer(q, k, v, policies..., how));
      const auto result = layer.with_weights(q, k, v, policies..., how);
      answer.output.set_head<T>(b, 0, result.output);
      for (index h = 0; h < call.heads.query; ++h)
        answer.weights.set_head<T>(b, h, result.weights[static_cast<std::size_t>(h)]);
    };
    if (call.relative) {
      const matrix<T> table = call.relative->table.cast<T>();
      const softlook::t5_relative_bias<T> bias(table, call.relative->buckets);
      if (call.masks.window)
        solve(transforms::t5_bias(bias, 0), *call.masks.window);
      else
        solve(transforms::t5_bias(bias, 0));
    } else {
      with_policies<T>(call.masks, b, q.rows(), k.rows(), solve);
    }
  }
  return answer;
}

template <class T>
layer_answer run_encoder(const mode& m, const encoder_call& call) {
  std::vector<softlook::transformer_encoder_layer<T>> layers;
  for (const auto& p : call.layers)
    layers.emplace_back(softlook::cast_parameters<T>(p), call.options);
  const softlook::transformer_encoder<T> stack(layers,
                                               norm_of<T>(call.final_norm, call.options.epsilon));
  layer_answer answer;
  answer.output = grid::zeros(call.X.batches, 1, call.X.rows, call.X.cols);
  softlook::workspace scratch;
  for (index b = 0; b < call.X.batches; ++b) {
    matrix<T> x = call.X.head<T>(b, 0);
    softlook::options how = m.options(std::nullopt);
    how.workspace = &scratch;
    with_policies<T>(call.masks, b, x.rows(), x.rows(), [&](const auto&... policies) {
      if (call.stack)
        stack.into(x, x, policies..., how);
      else
        layers.front().into(x, x, policies..., how);
    });
    answer.output.set_head<T>(b, 0, x);
  }
  return answer;
}

template <class T>
layer_answer run_decoder(const mode& m, const decoder_call& call) {
  std::vector<softlook::transformer_decoder_layer<T>> layers;
  for (const auto& p : call.layers)
    layers.emplace_back(softlook::cast_parameters<T>(p), call.options);
  const softlook::transformer_decoder<T> stack(layers,
                                               norm_of<T>(call.final_norm, call.options.epsilon));
  layer_answer answer;
  answer.output = grid::zeros(call.X.batches, 1, call.X.rows, call.X.cols);
  const softlook::options how = m.options(std::nullopt);
  for (index b = 0; b < call.X.batches; ++b) {
    const matrix<T> x = call.X.head<T>(b, 0), memory = call.memory.head<T>(b, 0);
    const auto set = [&](const auto& target, const auto& at_memory) {
      answer.output.set_head<T>(b, 0,
                                call.stack ? stack(x, memory, target, at_memory, how)
                                           : layers.front()(x, memory, target, at_memory, how));
    };
    with_policies<T>(call.target_masks, b, x.rows(), x.rows(), [&](const auto&... target) {
      with_policies<T>(call.memory_masks, b, x.rows(), memory.rows(), [&](const auto&... seen) {
        set(softlook::for_target(target...), softlook::for_memory(seen...));
      });
    });
  }
  return answer;
}

/// The same layer with the default scale, and with its relative bias written out.
multi_head_call in_plain_terms(multi_head_call call) {
  if (call.scale) {
    const auto features = static_cast<double>(call.parameters.Wq.cols() / call.heads.query);
    call.parameters.Wq *= *call.scale * std::sqrt(features);
    call.parameters.bq *= *call.scale * std::sqrt(features);
  }
  if (call.relative) {
    const softlook::t5_relative_bias<double> bias(call.relative->table, call.relative->buckets);
    call.masks.bias = grid::zeros(1, bias.heads(), call.Q.rows, call.K.rows);
    for (index h = 0; h < bias.heads(); ++h)
      call.masks.bias->set_head<double>(0, h,
                                        matrix<double>(bias.matrix(call.Q.rows, call.K.rows, h)));
  }
  return call;
}

}  // namespace

layer_answer run(const mode& m, const multi_head_call& call) {
  demand(call.K.batches == call.Q.batches && call.V.batches == call.Q.batches,
         "queries, keys and values differ in batches");
  demand(!call.relative || (!call.masks.mask && !call.masks.padded && !call.masks.bias),
         "a relative bias with masks other than a window");
  if (!m.single_precision) return run_multi_head<double>(m, call);
  const layer_bounds bounds = float_bounds(in_plain_terms(call));
  layer_answer answer = run_multi_head<float>(m, call);
  answer.output_bound = bounds.output;
  answer.weight_bound = bounds.weights;
  return answer;
}

layer_answer run(const mode& m, const decoder_call& call) {
  demand(call.stack || call.layers.size() == 1, "a layer alone is one layer");
  demand(call.memory.batches == call.X.batches, "target and memory differ in batches");
  if (!m.single_precision) return run_decoder<double>(m, call);
  const layer_bounds bounds = float_bounds(call);
  layer_answer answer = run_decoder<float>(m, call);
  answer.output_bound = bounds.output;
  return answer;
}

layer_answer run(const mode& m, const encoder_call& call) {
  demand(call.stack || call.layers.size() == 1, "a layer alone is one layer");
  if (!m.single_precision) return run_encoder<double>(m, call);
  const layer_bounds bounds = float_bounds(call);
  layer_answer answer = run_encoder<float>(m, call);
  answer.output_bound = bounds.output;
  return answer;
}

}  // namespace conformance
