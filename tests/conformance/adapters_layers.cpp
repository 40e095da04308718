#include "layer_gradients.hpp"
#include "torch_layers.hpp"

/// torch's MultiheadAttention and Transformer encoder, T5's attention.
namespace conformance {
namespace {

using Eigen::RowVectorXd;
using multi_head_parameters = softlook::multi_head_parameters<double>;
using encoder_parameters = softlook::transformer_encoder_layer_parameters<double>;

/// Each query's weights averaged over the heads.
grid averaged(const grid& weights) {
  grid mean = grid::zeros(weights.batches, 1, weights.rows, weights.cols);
  for (index b = 0; b < weights.batches; ++b) {
    std::vector<matrix<double>> heads;
    for (index h = 0; h < weights.heads; ++h) heads.push_back(weights.head<double>(b, h));
    mean.set_head<double>(b, 0, softlook::mean_of_heads(heads));
  }
  return mean;
}

outputs multihead_attention(const case_file& c, const mode& m) {
  const index embed = c.integer("embed_dim", 0), heads = c.integer("num_heads", 0);
  require(c, embed > 0 && heads > 0, "embed_dim and num_heads are positive");
  const bool self = c.flag("self_attention"), unbatched = c.flag("unbatched");
  multi_head_call call;
  call.heads.query = heads;
  call.Q = batch_first(c, "query");
  call.K = self ? call.Q : batch_first(c, "key");
  call.V = self ? call.Q : batch_first(c, "value");
  call.parameters = attention_parameters(c, "", embed);
  if (c.flag("add_bias_kv")) {
    call.parameters.bias_k = row_of(c, "bias_k", embed);
    call.parameters.bias_v = row_of(c, "bias_v", embed);
  }
  call.parameters.add_zero_attn = c.flag("add_zero_attn");
  agree(c, "kdim", static_cast<double>(call.K.cols));
  agree(c, "vdim", static_cast<double>(call.V.cols));
  agree(c, "bias", c.has_weight("in_proj_bias") ? 1 : 0);
  agree(c, "need_weights", c.expects("attn_output_weights") ? 1 : 0);
  const bool averaged_weights = c.flag("average_attn_weights");
  call.masks = read_masks(c, "attn_mask", "key_padding_mask", call.Q, call.K.rows, heads);
  call.wants_weights = c.expects("attn_output_weights");
  const layer_answer a = run(m, call);
  outputs out = {{"attn_output", in_own_order(c, a.output, a.output_bound)}};
  const grid& W = a.weights;
  if (call.wants_weights)
    out["attn_output_weights"] =
        averaged_weights ? produced{{W.batches, W.rows, W.cols}, averaged(W).values, a.weight_bound}
                         : heads_first(W, a.weight_bound);
  if (unbatched)
    for (auto& [name, p] : out)
      p.shape.erase(p.shape.begin() + (name == "attn_output" && !c.flag("batch_first") ? 1 : 0));
  if (!wants_gradients(c, m)) return out;
  const multi_head_gradients g = gradients_of(m, call, self, batch_first(c, "grad_output"));
  gradient_outputs to(c, out);
  to.input("query", g.Q);
  if (!self) {
    to.input("key", g.K);
    to.input("value", g.V);
  }
  to.attention("", g.weights);
  return out;
}

encoder_parameters encoder_layer_parameters(const case_file& c, const std::string& prefix,
                                            index features, index hidden) {
  encoder_parameters p;
  p.self_attention = attention_parameters(c, prefix + "self_attn.", features);
  read_layer(c, prefix, features, hidden, p);
  return p;
}

outputs transformer_encoder(const case_file& c, const mode& m) {
  encoder_call call;
  read_layers(c, "torch.TransformerEncoder", call,
              [&](const std::string& prefix, index features, index hidden) {
                return encoder_layer_parameters(c, prefix, features, hidden);
              });
  call.X = batch_first(c, "src");
  call.masks = read_masks(c, "src_mask", "src_key_padding_mask", call.X, call.X.rows,
                          call.options.heads.query);
  const layer_answer a = run(m, call);
  outputs out = {{"output", in_own_order(c, a.output, a.output_bound)}};
  if (!wants_gradients(c, m)) return out;
  const encoder_gradients g = gradients_of(m, call, batch_first(c, "grad_output"));
  gradient_outputs to(c, out);
  to.input("src", g.X);
  for (std::size_t k = 0; k < g.weights.layers.size(); ++k)
    to.layer(layer_prefix(call.stack, k), g.weights.layers[k]);
  to.row("norm.weight", g.weights.final_norm.gain);
  to.row("norm.bias", g.weights.final_norm.bias);
  return out;
}

/// Of a causal layer T5 gives back the bias with its mask added, whose number is the origin's own.
void add_mask_of_origin(const case_file& c, grid& biases) {
  constexpr double forbidden = -1e8;
  const auto found = c.outputs.find("position_bias");
  if (found == c.outputs.end() || found->second.values.size() != biases.values.size()) return;
  for (std::size_t at = 0; at < biases.values.size(); ++at) {
    const auto k = static_cast<index>(at);
    const bool later = k % biases.cols > k / biases.cols % biases.rows;
    if (later && found->second.values[at] < forbidden) biases.values[at] = found->second.values[at];
  }
}

/// T5's self-attention: a relative bias for each head, no scale and no biases of projections.
outputs t5_attention(const case_file& c, const mode& m) {
  const index heads = c.integer("num_heads", 0);
  require(c, heads > 0, "num_heads is positive");
  agree(c, "d_kv", static_cast<double>(c.weight("q.weight", 2).shape[0] / heads));
  multi_head_call call;
  call.heads.query = heads;
  call.Q = call.K = call.V = grid_of_batch(c, c.input("hidden_states", 3));
  multi_head_parameters& p = call.parameters;
  p.Wq = transposed(c.weight("q.weight", 2));
  p.Wk = transposed(c.weight("k.weight", 2));
  p.Wv = transposed(c.weight("v.weight", 2));
  p.Wo = transposed(c.weight("o.weight", 2));
  call.scale = 1;
  const Eigen::MatrixXd table =
      transposed(c.weight("relative_attention_bias.weight", 2)).transpose();
  const softlook::t5_buckets buckets{.count = c.integer("num_buckets", 32),
                                     .max_distance = c.integer("max_distance", 128),
                                     .bidirectional = !c.flag("is_decoder")};
  call.relative = relative_bias{table, buckets};
  if (c.flag("causal")) call.masks.window = softlook::masks::window{.left = {}, .right = 0};
  const layer_answer a = run(m, call);
  const softlook::t5_relative_bias<double> bias(table, buckets);
  grid biases = grid::zeros(1, heads, call.Q.rows, call.K.rows);
  for_each_head(biases, [&](index, index h) {
    biases.set_head<double>(0, h, matrix<double>(bias.matrix(call.Q.rows, call.K.rows, h)));
  });
  if (call.masks.window) add_mask_of_origin(c, biases);
  return {{"output", packed(a.output, a.output_bound)}, {"position_bias", heads_first(biases, 0)}};
}

}  // namespace

void add_layer_adapters(adapter_table& table) {
  table["torch.MultiheadAttention"] = multihead_attention;
  table["t5.T5Attention"] = t5_attention;
  table["torch.TransformerEncoderLayer"] = transformer_encoder;
  table["torch.TransformerEncoder"] = transformer_encoder;
}

}  // namespace conformance
