#include <algorithm>

#include "adapters.hpp"
#include "projection.hpp"

namespace conformance {
namespace {

/// True for the rule written j<=i && i-j<W; the window is then W keys wide.
bool causal_window(const std::string& rule, index& width) {
  const std::string head = "causal_window j<=i && i-j<";
  double value = 0;
  if (rule.rfind(head, 0) != 0 || !parse_number(rule.substr(head.size()), value)) return false;
  width = static_cast<index>(std::clamp(value, 0.0, 1e6));
  return width > 0;
}

mask_parts sdpa_mask(const case_file& c) {
  mask_parts parts;
  if (c.flag("is_causal")) parts.causal = mask_parts::diagonal::top_left;
  // Where the case gives this alignment and the same as a matrix, ours is computed from the
  // numbers.
  if (c.text("causal_alignment") == "bottom_right")
    parts.causal = mask_parts::diagonal::bottom_right;
  if (c.has("mask_rule")) {
    index width = 0;
    if (!causal_window(c.text("mask_rule"), width))
      throw unsupported("unknown mask_rule " + c.text("mask_rule"));
    parts.window = softlook::masks::window_of(width);
  }
  return parts;
}

outputs sdpa(const case_file& c, const mode& m) {
  const tensor& query = c.input("query");
  attention_call call;
  call.Q = grid_of(c, query);
  call.K = grid_of(c, c.input("key"));
  call.V = grid_of(c, c.input("value"));
  if (c.has("scale")) call.scale = c.number("scale", 0);
  call.masks = {sdpa_mask(c)};
  if (c.has_input("attn_mask") && !c.has("causal_alignment")) {
    const tensor& mask = c.input("attn_mask");
    const grid g = aligned(c, mask, call.Q.batches, call.Q.heads, call.Q.rows, call.K.rows);
    (mask.is_bool() ? call.allowed : call.bias) = g;
  }
  const attention_answer a = run(m, call);
  std::vector<index> shape = query.shape;
  shape.back() = call.V.cols;
  const produced output = reshaped(heads_first(a.output, a.bounds.output), shape);
  outputs out = {{"output", output}};
  if (c.expects("output_f64")) out["output_f64"] = output;
  return out;
}

struct mha_shape {
  index embed, heads;
};

/// (B, L, E), whatever the case says about the order of its first two dimensions.
grid batch_first(const case_file& c, const std::string& name) {
  const grid g = grid_of_batch(c, c.input(name));
  if (c.flag("batch_first")) return g;
  return {g.rows, 1, g.batches, g.cols, reordered({1, g.batches, g.rows, g.cols, g.values}).values};
}

/// The packed in_proj_weight holds W_q, W_k, W_v below each other, or there are three weights.
projection in_projection(const case_file& c, index part, const mha_shape& s) {
  const char* names[] = {"q_proj_weight", "k_proj_weight", "v_proj_weight"};
  const bool joined = c.has_weight("in_proj_weight");
  const tensor& W = c.weight(joined ? "in_proj_weight" : names[part], 2);
  require(c, W.shape[0] == (joined ? 3 : 1) * s.embed, "in_proj_weight does not fit embed_dim");
  projection p;
  const Eigen::Map<const matrix<double>> all(W.values.data(), W.shape[0], W.shape[1]);
  p.W = all.middleRows(joined ? part * s.embed : 0, s.embed).transpose();
  p.b = Eigen::RowVectorXd::Zero(s.embed);
  if (c.has_weight("in_proj_bias")) {
    const tensor& b = c.weight("in_proj_bias", 1);
    require(c, b.shape[0] == 3 * s.embed, "in_proj_bias does not fit embed_dim");
    p.b = Eigen::Map<const Eigen::RowVectorXd>(b.values.data() + part * s.embed, s.embed);
  }
  return p;
}

/// add_bias_kv appends a learned row, add_zero_attn a row of zeros.
grid extended(const case_file& c, const grid& rows, const char* learned) {
  grid g = rows;
  if (c.flag("add_bias_kv")) {
    const tensor& b = c.weight(learned, 3);
    require(c, b.shape[0] == 1 && b.shape[1] == 1 && b.shape[2] == rows.cols,
            "bias_k and bias_v have one row");
    g = stacked(g, {1, 1, 1, rows.cols, b.values});
  }
  if (c.flag("add_zero_attn")) g = stacked(g, grid::zeros(1, 1, 1, rows.cols));
  return g;
}

/// A mask in the polarity of nn.MultiheadAttention (true = ignore), extended by visible keys.
grid attending(const grid& ignored, index keys) {
  grid g = grid::zeros(ignored.batches, ignored.heads, ignored.rows, keys);
  for_each_head(g, [&](index b, index h) {
    const double* from = ignored.slice(b, h);
    for (index i = 0; i < g.rows; ++i)
      for (index j = 0; j < keys; ++j)
        g.slice(b, h)[i * keys + j] = j >= ignored.cols || from[i * ignored.cols + j] == 0 ? 1 : 0;
  });
  return g;
}

grid widened(const grid& bias, index keys) {
  grid g = grid::zeros(bias.batches, bias.heads, bias.rows, keys);
  for (index r = 0; r < bias.batches * bias.heads * bias.rows; ++r)
    std::copy_n(bias.values.data() + r * bias.cols, bias.cols, g.values.data() + r * keys);
  return g;
}

void add_mha_masks(const case_file& c, attention_call& call, index given_keys, index keys) {
  const index batches = call.Q.batches, heads = call.Q.heads, n = call.Q.rows;
  if (c.has_input("key_padding_mask")) {
    const tensor& t = c.input("key_padding_mask");
    if (!t.is_bool()) throw unsupported("key_padding_mask of numbers");
    call.allowed = attending(key_mask(c, t, batches, given_keys), keys);
  }
  if (!c.has_input("attn_mask")) return;
  tensor t = c.input("attn_mask");
  if (t.rank() == 3) {  // (B·heads, L, S)
    require(c, t.shape[0] == batches * heads, "attn_mask of rank 3 has batch·heads slices");
    t.shape = {batches, heads, t.shape[1], t.shape[2]};
  }
  const grid g = aligned(c, t, batches, heads, n, given_keys);
  require(c, g.cols == given_keys, "attn_mask has a column for each key");
  if (!t.is_bool()) {
    call.bias = widened(g, keys);
  } else {
    const grid allowed = attending(g, keys);
    call.allowed = call.allowed ? intersection(*call.allowed, allowed) : allowed;
  }
}

/// Each query's weights averaged over the heads.
grid averaged(const grid& weights) {
  grid mean = grid::zeros(weights.batches, 1, weights.rows, weights.cols);
  for (index b = 0; b < weights.batches; ++b) {
    matrix<double> sum = matrix<double>::Zero(weights.rows, weights.cols);
    for (index h = 0; h < weights.heads; ++h) sum += weights.head<double>(b, h);
    mean.set_head<double>(b, 0, sum / static_cast<double>(weights.heads));
  }
  return mean;
}

outputs multihead_attention(const case_file& c, const mode& m) {
  if (c.flag("unbatched")) throw unsupported("unbatched nn.MultiheadAttention");
  const mha_shape s = {c.integer("embed_dim", 0), c.integer("num_heads", 0)};
  require(c, s.heads > 0 && s.embed > 0 && s.embed % s.heads == 0, "embed_dim divides into heads");
  const bool self = c.flag("self_attention");
  const grid query = batch_first(c, "query");
  const grid key = self ? query : batch_first(c, "key");
  const grid value = self ? query : batch_first(c, "value");

  attention_call call;
  call.Q = split_heads(project(c, query, in_projection(c, 0, s)), s.heads);
  call.K = split_heads(extended(c, project(c, key, in_projection(c, 1, s)), "bias_k"), s.heads);
  call.V = split_heads(extended(c, project(c, value, in_projection(c, 2, s)), "bias_v"), s.heads);
  call.wants_weights = c.expects("attn_output_weights");
  add_mha_masks(c, call, key.rows, call.K.rows);
  const attention_answer a = run(m, call);

  const projection out_projection =
      linear(c, "out_proj.weight", c.has_weight("out_proj.bias") ? "out_proj.bias" : "");
  grid output = project(c, join_heads(a.output), out_projection);
  const double bound = projected_error(a.bounds.output, out_projection.W);
  if (!c.flag("batch_first"))
    output = {1, output.rows, output.batches, output.cols,
              reordered({1, output.batches, output.rows, output.cols, output.values}).values};
  const index first = c.flag("batch_first") ? output.batches : output.heads;
  outputs out;
  out["attn_output"] = {{first, output.rows, output.cols}, output.values, bound};
  if (!call.wants_weights) return out;
  const grid& W = a.weights;
  out["attn_output_weights"] =
      c.flag("average_attn_weights")
          ? produced{{W.batches, W.rows, W.cols}, averaged(W).values, a.bounds.weights}
          : heads_first(W, a.bounds.weights);
  return out;
}

}  // namespace

void add_torch_adapters(adapter_table& table) {
  table["torch.sdpa"] = sdpa;
  table["torch.MultiheadAttention"] = multihead_attention;
}

}  // namespace conformance
