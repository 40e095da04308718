#pragma once

#include "adapters.hpp"
#include "layers.hpp"

/// What torch's layers have in common: the order of dimensions, weights (out, in), the polarity of
/// masks (1 = ignore).
namespace conformance {

/// (B, L, E), whatever the case says about the order of its first two dimensions.
grid batch_first(const case_file& c, const std::string& name);

/// (B, L, E) or (L, B, E), as the case has its inputs.
produced in_own_order(const case_file& c, const grid& g, double bound);

Eigen::MatrixXd transposed(const tensor& W);

/// A bias or a gain; empty where the case has none.
Eigen::RowVectorXd row_of(const case_file& c, const std::string& name, index size);

/// The parameters of an nn.MultiheadAttention whose names begin with `prefix`: in_proj_weight holds
/// W_q, W_k, W_v below each other, or there are three weights.
softlook::multi_head_parameters<double> attention_parameters(const case_file& c,
                                                             const std::string& prefix,
                                                             index embed);

/// `mask` is (L, S) or (B·heads, L, S), true = ignore or numbers that are added; `padding` (B, S).
layer_masks read_masks(const case_file& c, const char* mask, const char* padding, const grid& Q,
                       index keys, index heads);

/// Feed-forward and the first two norms of a layer whose names begin with `prefix`.
template <class Parameters>
void read_layer(const case_file& c, const std::string& prefix, index features, index hidden,
                Parameters& p) {
  p.W1 = transposed(c.weight(prefix + "linear1.weight", 2));
  p.b1 = row_of(c, prefix + "linear1.bias", hidden);
  p.W2 = transposed(c.weight(prefix + "linear2.weight", 2));
  p.b2 = row_of(c, prefix + "linear2.bias", features);
  p.gain1 = row_of(c, prefix + "norm1.weight", features);
  p.bias1 = row_of(c, prefix + "norm1.bias", features);
  p.gain2 = row_of(c, prefix + "norm2.weight", features);
  p.bias2 = row_of(c, prefix + "norm2.bias", features);
}

/// Gradients as the outputs of a case: those that it expects, in the shapes of what they belong to.
class gradient_outputs {
 public:
  gradient_outputs(const case_file& c, outputs& to) : case_(c), to_(to) {}

  /// Of an input, (B, L, E) in the case's own order.
  void input(const std::string& name, const grid& g);
  /// Of a Linear's weight, whose own is (out, in); of a row.
  void weight(const std::string& name, const Eigen::MatrixXd& dW);
  void row(const std::string& name, const Eigen::RowVectorXd& db);
  /// Of the weights of an nn.MultiheadAttention.
  void attention(const std::string& prefix, const softlook::multi_head_parameters<double>& g);
  /// Of feed-forward and the first two norms.
  template <class Parameters>
  void layer(const std::string& prefix, const Parameters& g) {
    attention(prefix + "self_attn.", g.self_attention);
    weight(prefix + "linear1.weight", g.W1);
    weight(prefix + "linear2.weight", g.W2);
    row(prefix + "linear1.bias", g.b1);
    row(prefix + "linear2.bias", g.b2);
    row(prefix + "norm1.weight", g.gain1);
    row(prefix + "norm1.bias", g.bias1);
    row(prefix + "norm2.weight", g.gain2);
    row(prefix + "norm2.bias", g.bias2);
  }

 private:
  void put(const std::string& name, produced p);

  const case_file& case_;
  outputs& to_;
};

/// Whether this mode computes gradients, and the case has some.
bool wants_gradients(const case_file& c, const mode& m);

/// nhead, activation, norm_first and layer_norm_eps of a Transformer's layer.
softlook::transformer_layer_options layer_options(const case_file& c);

/// How the names of a layer's weights begin.
inline std::string layer_prefix(bool stack, std::size_t number) {
  return stack ? "layers." + std::to_string(number) + "." : "";
}

/// What an encoder and a decoder share: read(prefix, features, hidden) for each layer of the stack,
/// or for one that is alone, and the norm at the end.
template <class Call, class Read>
void read_layers(const case_file& c, const char* stack, Call& call, const Read& read) {
  const index features = c.integer("d_model", 0), hidden = c.integer("dim_feedforward", 0);
  require(c, features > 0 && hidden > 0, "d_model and dim_feedforward are positive");
  call.stack = c.op == stack;
  call.options = layer_options(c);
  const index count = call.stack ? c.integer("num_layers", 0) : 1;
  for (index i = 0; i < count; ++i)
    call.layers.push_back(
        read(layer_prefix(call.stack, static_cast<std::size_t>(i)), features, hidden));
  if (call.stack && c.flag("final_norm"))
    call.final_norm = {row_of(c, "norm.weight", features), row_of(c, "norm.bias", features)};
}

}  // namespace conformance
