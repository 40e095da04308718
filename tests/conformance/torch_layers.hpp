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

/// nhead, activation, norm_first and layer_norm_eps of a Transformer's layer.
softlook::transformer_layer_options layer_options(const case_file& c);

}  // namespace conformance
