#include "layer_gradients.hpp"
#include "torch_layers.hpp"

/// torch's Transformer decoder.
namespace conformance {
namespace {

using decoder_parameters = softlook::transformer_decoder_layer_parameters<double>;

decoder_parameters decoder_layer_parameters(const case_file& c, const std::string& prefix,
                                            index features, index hidden) {
  decoder_parameters p;
  p.self_attention = attention_parameters(c, prefix + "self_attn.", features);
  p.cross_attention = attention_parameters(c, prefix + "multihead_attn.", features);
  read_layer(c, prefix, features, hidden, p);
  p.gain3 = row_of(c, prefix + "norm3.weight", features);
  p.bias3 = row_of(c, prefix + "norm3.bias", features);
  return p;
}

outputs transformer_decoder(const case_file& c, const mode& m) {
  decoder_call call;
  read_layers(c, "torch.TransformerDecoder", call,
              [&](const std::string& prefix, index features, index hidden) {
                return decoder_layer_parameters(c, prefix, features, hidden);
              });
  call.X = batch_first(c, "tgt");
  call.memory = batch_first(c, "memory");
  const index heads = call.options.heads.query;
  call.target_masks = read_masks(c, "tgt_mask", "tgt_key_padding_mask", call.X, call.X.rows, heads);
  call.memory_masks =
      read_masks(c, "memory_mask", "memory_key_padding_mask", call.X, call.memory.rows, heads);
  const layer_answer a = run(m, call);
  outputs out = {{"output", in_own_order(c, a.output, a.output_bound)}};
  if (!wants_gradients(c, m)) return out;
  const decoder_gradients g = gradients_of(m, call, batch_first(c, "grad_output"));
  gradient_outputs to(c, out);
  to.input("tgt", g.X);
  to.input("memory", g.memory);
  for (std::size_t k = 0; k < g.weights.layers.size(); ++k) {
    const std::string prefix = layer_prefix(call.stack, k);
    const decoder_parameters& layer = g.weights.layers[k];
    to.layer(prefix, layer);
    to.attention(prefix + "multihead_attn.", layer.cross_attention);
    to.row(prefix + "norm3.weight", layer.gain3);
    to.row(prefix + "norm3.bias", layer.bias3);
  }
  to.row("norm.weight", g.weights.final_norm.gain);
  to.row("norm.bias", g.weights.final_norm.bias);
  return out;
}

}  // namespace

void add_decoder_adapters(adapter_table& table) {
  table["torch.TransformerDecoderLayer"] = transformer_decoder;
  table["torch.TransformerDecoder"] = transformer_decoder;
}

}  // namespace conformance
