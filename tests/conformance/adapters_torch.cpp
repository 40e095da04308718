#include <algorithm>

#include "adapters.hpp"

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

/// Where a case gives an alignment and the same as a matrix, ours is computed from the alignment.
void require_bottom_right(const case_file& c, const tensor& mask) {
  require(c, mask.is_bool() && mask.rank() >= 2, "the aligned mask is a matrix of bool");
  const index rows = mask.shape[mask.shape.size() - 2], cols = mask.shape.back();
  for (std::size_t at = 0; at < mask.values.size(); ++at) {
    const auto k = static_cast<index>(at);
    const bool visible = k % cols <= k / cols % rows + cols - rows;
    if (visible != (mask.values[at] != 0))
      c.fail(mask.line, "attn_mask is not what causal_alignment says");
  }
}

outputs sdpa(const case_file& c, const mode& m) {
  const tensor& query = c.input("query");
  attention_call call;
  call.Q = grid_of(c, query);
  call.K = grid_of(c, c.input("key"));
  call.V = grid_of(c, c.input("value"));
  if (c.has_input("grad_output")) call.dO = grid_of(c, c.input("grad_output"));
  if (c.has("scale")) call.scale = c.number("scale", 0);
  require(c, c.flag("enable_gqa") || call.K.heads == call.Q.heads || call.K.heads == 1,
          "groups of query heads without enable_gqa");
  call.masks = {sdpa_mask(c)};
  if (c.has_input("attn_mask") && c.has("causal_alignment")) {
    require_bottom_right(c, c.input("attn_mask"));
  } else if (c.has_input("attn_mask")) {
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
  if (call.dO && !m.single_precision) {
    out["grad_query"] = reshaped(heads_first(a.dQ, 0), query.shape);
    out["grad_key"] = reshaped(heads_first(a.dK, 0), c.input("key").shape);
    out["grad_value"] = reshaped(heads_first(a.dV, 0), c.input("value").shape);
    if (call.bias)
      out["grad_attn_mask"] = reshaped(heads_first(a.dbias, 0), c.input("attn_mask").shape);
  }
  return out;
}

}  // namespace

void add_torch_adapters(adapter_table& table) { table["torch.sdpa"] = sdpa; }

}  // namespace conformance
