#include "layers.hpp"

#include <algorithm>

#include "layer_error.hpp"

namespace conformance {
namespace {

namespace masks = softlook::masks;
namespace transforms = softlook::transforms;

/// The heads of one batch below each other, as dense masks and biases hold them.
template <class T>
matrix<T> stacked_heads(const grid& g, index b) {
  matrix<T> X(g.heads * g.rows, g.cols);
  for (index h = 0; h < g.heads; ++h) X.middleRows(h * g.rows, g.rows) = g.head<T>(b, h);
  return X;
}

bool_matrix flags(const std::optional<grid>& g, index b, const bool_matrix& otherwise) {
  return g ? bool_matrix((stacked_heads<double>(*g, b).array() != 0).matrix()) : otherwise;
}

/// No policies, or all of them: each combination of types is kernels to compile.
template <class T, class Run>
auto with_policies(const layer_masks& given, index b, index n, index m, const Run& then) {
  if (given.empty()) return then();
  const bool_matrix mask = flags(given.mask, b, bool_matrix::Constant(n, m, given.ones_attend));
  const bool_matrix padded = flags(given.padded, b, bool_matrix::Constant(1, m, false));
  const matrix<T> B = given.bias ? stacked_heads<T>(*given.bias, b) : matrix<T>::Zero(n, m);
  return then(given.window.value_or(masks::window{}) & masks::dense(mask, !given.ones_attend) &
                  masks::dense_ignoring(padded),
              transforms::bias(B));
}

template <class T>
softlook::multi_head_parameters<T> cast(const softlook::multi_head_parameters<double>& p) {
  softlook::multi_head_parameters<T> q;
  q.Wq = p.Wq.cast<T>();
  q.Wk = p.Wk.cast<T>();
  q.Wv = p.Wv.cast<T>();
  q.Wo = p.Wo.cast<T>();
  q.bq = p.bq.cast<T>();
  q.bk = p.bk.cast<T>();
  q.bv = p.bv.cast<T>();
  q.bo = p.bo.cast<T>();
  q.bias_k = p.bias_k.cast<T>();
  q.bias_v = p.bias_v.cast<T>();
  q.add_zero_attn = p.add_zero_attn;
  return q;
}

/// What the layers of an encoder and of a decoder share.
template <class T, template <class> class Parameters>
Parameters<T> cast_layer(const Parameters<double>& p) {
  Parameters<T> q;
  q.self_attention = cast<T>(p.self_attention);
  q.W1 = p.W1.template cast<T>();
  q.W2 = p.W2.template cast<T>();
  q.b1 = p.b1.template cast<T>();
  q.b2 = p.b2.template cast<T>();
  q.gain1 = p.gain1.template cast<T>();
  q.bias1 = p.bias1.template cast<T>();
  q.gain2 = p.gain2.template cast<T>();
  q.bias2 = p.bias2.template cast<T>();
  return q;
}

template <class T>
softlook::transformer_encoder_layer_parameters<T> cast(
    const softlook::transformer_encoder_layer_parameters<double>& p) {
  return cast_layer<T>(p);
}

template <class T>
softlook::transformer_decoder_layer_parameters<T> cast(
    const softlook::transformer_decoder_layer_parameters<double>& p) {
  softlook::transformer_decoder_layer_parameters<T> q = cast_layer<T>(p);
  q.cross_attention = cast<T>(p.cross_attention);
  q.gain3 = p.gain3.cast<T>();
  q.bias3 = p.bias3.cast<T>();
  return q;
}

/// The norm at the end of a stack.
template <class T>
std::optional<softlook::layer_norm<T>> norm_of(const std::optional<norm_parameters>& p,
                                               double epsilon) {
  if (!p) return std::nullopt;
  return softlook::layer_norm<T>(p->gain.cast<T>(), p->bias.cast<T>(), epsilon);
}

template <class T>
layer_answer run_multi_head(const mode& m, const multi_head_call& call) {
  const softlook::multi_head<T> layer(cast<T>(call.parameters), call.heads);
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
  for (const auto& p : call.layers) layers.emplace_back(cast<T>(p), call.options);
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
  for (const auto& p : call.layers) layers.emplace_back(cast<T>(p), call.options);
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

void demand(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
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
