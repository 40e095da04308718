#include <algorithm>

#include "adapters.hpp"
#include "layers.hpp"

/// torch's layers: MultiheadAttention and the encoder, in their own polarity of masks (1 = ignore)
/// and layout of weights, (out, in).
namespace conformance {
namespace {

using Eigen::MatrixXd;
using Eigen::RowVectorXd;
using multi_head_parameters = softlook::multi_head_parameters<double>;
using encoder_parameters = softlook::transformer_encoder_layer_parameters<double>;

/// (B, L, E), whatever the case says about the order of its first two dimensions.
grid batch_first(const case_file& c, const std::string& name) {
  const grid g = grid_of_batch(c, c.input(name, 3));
  if (c.flag("batch_first")) return g;
  return {g.rows, 1, g.batches, g.cols, reordered({1, g.batches, g.rows, g.cols, g.values}).values};
}

/// (B, L, E) or (L, B, E), as the case has its inputs.
produced in_own_order(const case_file& c, const grid& g, double bound) {
  if (c.flag("batch_first")) return packed(g, bound);
  const grid h = {1, g.batches, g.rows, g.cols, g.values};
  return {{g.rows, g.batches, g.cols}, reordered(h).values, bound};
}

MatrixXd transposed(const tensor& W) {
  return Eigen::Map<const matrix<double>>(W.values.data(), W.shape[0], W.shape[1]).transpose();
}

/// A bias or a gain; empty where the case has none.
RowVectorXd row_of(const case_file& c, const std::string& name, index size) {
  if (!c.has_weight(name)) return {};
  const tensor& b = c.weight(name);
  require(c, static_cast<index>(b.values.size()) == size, name + " has another size");
  return Eigen::Map<const RowVectorXd>(b.values.data(), size);
}

/// The parameters of an nn.MultiheadAttention whose names begin with `prefix`: in_proj_weight holds
/// W_q, W_k, W_v below each other, or there are three weights.
multi_head_parameters attention_parameters(const case_file& c, const std::string& prefix,
                                           index embed) {
  multi_head_parameters p;
  const std::string joined = prefix + "in_proj_weight";
  if (c.has_weight(joined)) {
    const MatrixXd W = transposed(c.weight(joined, 2));
    require(c, W.cols() == 3 * embed, joined + " does not fit embed_dim");
    p.Wq = W.leftCols(embed);
    p.Wk = W.middleCols(embed, embed);
    p.Wv = W.rightCols(embed);
  } else {
    p.Wq = transposed(c.weight(prefix + "q_proj_weight", 2));
    p.Wk = transposed(c.weight(prefix + "k_proj_weight", 2));
    p.Wv = transposed(c.weight(prefix + "v_proj_weight", 2));
  }
  const RowVectorXd b = row_of(c, prefix + "in_proj_bias", 3 * embed);
  if (b.size() > 0) {
    p.bq = b.head(embed);
    p.bk = b.segment(embed, embed);
    p.bv = b.tail(embed);
  }
  p.Wo = transposed(c.weight(prefix + "out_proj.weight", 2));
  p.bo = row_of(c, prefix + "out_proj.bias", embed);
  return p;
}

/// `mask` is (L, S) or (B·heads, L, S), true = ignore or numbers that are added; `padding` (B, S).
layer_masks read_masks(const case_file& c, const char* mask, const char* padding, const grid& Q,
                       index keys, index heads) {
  layer_masks masks;
  if (c.has_input(padding)) {
    const tensor& t = c.input(padding);
    if (!t.is_bool()) throw unsupported(std::string(padding) + " of numbers");
    masks.padded = key_mask(c, t, Q.batches, keys);
  }
  if (!c.has_input(mask)) return masks;
  tensor t = c.input(mask);
  if (t.rank() == 3) {
    require(c, t.shape[0] == Q.batches * heads, "a mask of rank 3 has batch·heads slices");
    t.shape = {Q.batches, heads, t.shape[1], t.shape[2]};
  }
  const grid g = aligned(c, t, Q.batches, heads, Q.rows, keys);
  (t.is_bool() ? masks.mask : masks.bias) = g;
  return masks;
}

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
  if (c.flag("unbatched")) throw unsupported("unbatched nn.MultiheadAttention");
  const index embed = c.integer("embed_dim", 0), heads = c.integer("num_heads", 0);
  require(c, embed > 0 && heads > 0, "embed_dim and num_heads are positive");
  const bool self = c.flag("self_attention");
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
  call.masks = read_masks(c, "attn_mask", "key_padding_mask", call.Q, call.K.rows, heads);
  call.wants_weights = c.expects("attn_output_weights");
  const layer_answer a = run(m, call);
  outputs out = {{"attn_output", in_own_order(c, a.output, a.output_bound)}};
  if (!call.wants_weights) return out;
  const grid& W = a.weights;
  out["attn_output_weights"] =
      c.flag("average_attn_weights")
          ? produced{{W.batches, W.rows, W.cols}, averaged(W).values, a.weight_bound}
          : heads_first(W, a.weight_bound);
  return out;
}

encoder_parameters layer_parameters(const case_file& c, const std::string& prefix, index features,
                                    index hidden) {
  encoder_parameters p;
  p.self_attention = attention_parameters(c, prefix + "self_attn.", features);
  p.W1 = transposed(c.weight(prefix + "linear1.weight", 2));
  p.b1 = row_of(c, prefix + "linear1.bias", hidden);
  p.W2 = transposed(c.weight(prefix + "linear2.weight", 2));
  p.b2 = row_of(c, prefix + "linear2.bias", features);
  p.gain1 = row_of(c, prefix + "norm1.weight", features);
  p.bias1 = row_of(c, prefix + "norm1.bias", features);
  p.gain2 = row_of(c, prefix + "norm2.weight", features);
  p.bias2 = row_of(c, prefix + "norm2.bias", features);
  return p;
}

softlook::transformer_encoder_layer_options layer_options(const case_file& c) {
  const std::string f = c.text("activation", "relu");
  if (f != "relu" && f != "gelu") throw unsupported("unknown activation " + f);
  return {.heads = {.query = c.integer("nhead", 0)},
          .activation = f == "gelu" ? softlook::activation::gelu : softlook::activation::relu,
          .norm_first = c.flag("norm_first"),
          .epsilon = c.number("layer_norm_eps", 1e-5)};
}

outputs transformer_encoder(const case_file& c, const mode& m) {
  const index features = c.integer("d_model", 0), hidden = c.integer("dim_feedforward", 0);
  require(c, features > 0 && hidden > 0, "d_model and dim_feedforward are positive");
  encoder_call call;
  call.stack = c.op == "torch.TransformerEncoder";
  call.options = layer_options(c);
  const index count = call.stack ? c.integer("num_layers", 0) : 1;
  for (index i = 0; i < count; ++i)
    call.layers.push_back(layer_parameters(c, call.stack ? "layers." + std::to_string(i) + "." : "",
                                           features, hidden));
  if (call.stack && c.flag("final_norm"))
    call.final_norm = {row_of(c, "norm.weight", features), row_of(c, "norm.bias", features)};
  call.X = batch_first(c, "src");
  call.masks = read_masks(c, "src_mask", "src_key_padding_mask", call.X, call.X.rows,
                          call.options.heads.query);
  const layer_answer a = run(m, call);
  return {{"output", in_own_order(c, a.output, a.output_bound)}};
}

}  // namespace

void add_layer_adapters(adapter_table& table) {
  table["torch.MultiheadAttention"] = multihead_attention;
  table["torch.TransformerEncoderLayer"] = transformer_encoder;
  table["torch.TransformerEncoder"] = transformer_encoder;
}

}  // namespace conformance
