#include "torch_layers.hpp"

namespace conformance {

using Eigen::MatrixXd;
using Eigen::RowVectorXd;

grid batch_first(const case_file& c, const std::string& name) {
  tensor t = c.input(name, c.flag("unbatched") ? 2 : 3);
  if (c.flag("unbatched")) t.shape.insert(t.shape.begin() + (c.flag("batch_first") ? 0 : 1), 1);
  const grid g = grid_of_batch(c, t);
  if (c.flag("batch_first")) return g;
  return {g.rows, 1, g.batches, g.cols, reordered({1, g.batches, g.rows, g.cols, g.values}).values};
}

produced in_own_order(const case_file& c, const grid& g, double bound) {
  if (c.flag("batch_first")) return packed(g, bound);
  const grid h = {1, g.batches, g.rows, g.cols, g.values};
  return {{g.rows, g.batches, g.cols}, reordered(h).values, bound};
}

MatrixXd transposed(const tensor& W) {
  return Eigen::Map<const matrix<double>>(W.values.data(), W.shape[0], W.shape[1]).transpose();
}

RowVectorXd row_of(const case_file& c, const std::string& name, index size) {
  if (!c.has_weight(name)) return {};
  const tensor& b = c.weight(name);
  require(c, static_cast<index>(b.values.size()) == size, name + " has another size");
  return Eigen::Map<const RowVectorXd>(b.values.data(), size);
}

softlook::multi_head_parameters<double> attention_parameters(const case_file& c,
                                                             const std::string& prefix,
                                                             index embed) {
  softlook::multi_head_parameters<double> p;
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

layer_masks read_masks(const case_file& c, const char* mask, const char* padding, const grid& Q,
                       index keys, index heads) {
  layer_masks masks;
  if (c.has_input(padding)) {
    tensor t = c.input(padding);
    if (t.rank() == 1 && Q.batches == 1) t.shape = {1, t.shape[0]};  // unbatched
    (t.is_bool() ? masks.padded : masks.bias) = key_mask(c, t, Q.batches, keys);
  }
  if (!c.has_input(mask)) return masks;
  tensor t = c.input(mask);
  if (t.rank() == 3) {
    require(c, t.shape[0] == Q.batches * heads, "a mask of rank 3 has batch·heads slices");
    t.shape = {Q.batches, heads, t.shape[1], t.shape[2]};
  }
  const grid g = aligned(c, t, Q.batches, heads, Q.rows, keys);
  if (t.is_bool())
    masks.mask = g;
  else
    masks.bias = masks.bias ? sum(*masks.bias, g) : g;
  return masks;
}

namespace {

/// (out, in) of ours, in × out.
produced as_linear(const MatrixXd& dW) {
  const matrix<double> rows = dW.transpose();
  return {{rows.rows(), rows.cols()}, {rows.data(), rows.data() + rows.size()}, 0};
}

}  // namespace

void gradient_outputs::put(const std::string& name, produced p) {
  if (case_.expects("grad_" + name)) to_["grad_" + name] = std::move(p);
}

void gradient_outputs::input(const std::string& name, const grid& g) {
  produced p = in_own_order(case_, g, 0);
  if (case_.flag("unbatched")) p.shape.erase(p.shape.begin() + (case_.flag("batch_first") ? 0 : 1));
  put(name, std::move(p));
}

void gradient_outputs::weight(const std::string& name, const MatrixXd& dW) {
  put(name, as_linear(dW));
}

void gradient_outputs::row(const std::string& name, const RowVectorXd& db) {
  produced p{{db.size()}, {db.data(), db.data() + db.size()}, 0};
  if (case_.has_weight(name)) p.shape = case_.weight(name).shape;
  put(name, std::move(p));
}

void gradient_outputs::attention(const std::string& prefix,
                                 const softlook::multi_head_parameters<double>& g) {
  if (case_.has_weight(prefix + "in_proj_weight")) {
    MatrixXd W(g.Wq.rows(), 3 * g.Wq.cols());
    W << g.Wq, g.Wk, g.Wv;
    weight(prefix + "in_proj_weight", W);
  } else {
    weight(prefix + "q_proj_weight", g.Wq);
    weight(prefix + "k_proj_weight", g.Wk);
    weight(prefix + "v_proj_weight", g.Wv);
  }
  if (g.bq.size() > 0) {
    RowVectorXd b(3 * g.bq.size());
    b << g.bq, g.bk, g.bv;
    row(prefix + "in_proj_bias", b);
  }
  weight(prefix + "out_proj.weight", g.Wo);
  row(prefix + "out_proj.bias", g.bo);
  row(prefix + "bias_k", g.bias_k);
  row(prefix + "bias_v", g.bias_v);
}

bool wants_gradients(const case_file& c, const mode& m) {
  return !m.single_precision && c.has_input("grad_output");
}

softlook::transformer_layer_options layer_options(const case_file& c) {
  const char* prefix = c.op.find("Layer") != std::string::npos ? "" : "layers.0.";
  agree(c, "bias", c.has_weight(std::string(prefix) + "linear1.bias") ? 1 : 0);
  const std::string f = c.text("activation", "relu");
  if (f != "relu" && f != "gelu") throw unsupported("unknown activation " + f);
  return {.heads = {.query = c.integer("nhead", 0)},
          .activation = f == "gelu" ? softlook::activation::gelu : softlook::activation::relu,
          .norm_first = c.flag("norm_first"),
          .epsilon = c.number("layer_norm_eps", 1e-5)};
}

}  // namespace conformance
