#include "adapters.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <utility>

namespace conformance {
namespace {

using text_pair = std::pair<const char*, const char*>;

// By prefix of the name; the first that fits counts.
constexpr text_pair conventions[] = {
    {"sdpa_f64_inf_value_masked",
     "a masked value never reaches the output; PyTorch multiplies its zero weight by inf"},
    {"sdpa_f64_empty_keys", "a query without keys gets a row of zeros"},
    {"sdpa_f64_fullymasked_minus1e9", "a finite -1e9 is a number like any other"},
    {"jax_fullymasked_row", "a row without keys is zero; JAX averages all values"},
    {"keras_mha_fullymasked_row",
     "a row without keys is zero on every path; Keras' fused path averages all values"},
    {"allennlp_masked_softmax_memeff",
     "a row without keys has zero weights; memory_efficient makes them uniform"},
    {"tfa_suite_luong_monotonic_",
     "weights are exact; TensorFlow Addons' parallel form clips a product at 1e-10 and loses the "
     "weight of keys behind one that is hardly ever passed"},
    {"mha_fullymasked_row", "a row without keys is zero; PyTorch's need_weights path gives NaN"},
};

// Of cases that no name above fits, by prefix of the operation.
constexpr text_pair conventions_of_operations[] = {
    {"keras.Attention", "a row without keys is zero; Keras gives it the softmax of raw scores"},
    {"keras.AdditiveAttention",
     "a row without keys is zero; Keras gives it the softmax of raw scores"},
};

/// What a case may hold without a bearing on the outputs that are compared. `op` is a prefix.
struct irrelevant_part {
  const char* op;
  const char* kind;
  const char* name;
  const char* why;
};

constexpr irrelevant_part irrelevant[] = {
    {"", "attribute", "implementation_defined", "the runner reads it"},
    {"", "attribute", "has_grad", "says whether gradients are among the outputs"},
    {"", "input", "grad_output", "of gradients, which not every run computes"},
    {"", "input", "grad_o", "of gradients, which not every run computes"},
    {"", "input", "grad_attn_h", "of gradients, which not every run computes"},
    {"onnx.", "attribute", "opset", "the version of the operator"},
    {"onnx.", "attribute", "op_since_version", "the version of the operator"},
    {"onnx.", "attribute", "score_mod.nodes", "the graph of a function with a name"},
    {"onnx.", "attribute", "prob_mod.nodes", "the graph of a function with a name"},
    {"tfa.", "attribute", "literal_upstream_mean_final_attention", "a mean that upstream tests"},
    {"tfa.", "attribute", "upstream_test_passed", "says that upstream's own test passed"},
    {"tfa.BahdanauAttention", "input", "initial_alignments", "the scores do not depend on it"},
    {"tfa.LuongAttention", "input", "initial_alignments", "the scores do not depend on it"},
    {"tfa.AttentionStep.BahdanauAttention", "input", "previous_alignments",
     "the scores do not depend on it"},
    {"tfa.AttentionStep.LuongAttention", "input", "previous_alignments",
     "the scores do not depend on it"},
    {"allennlp.masked_softmax", "attribute", "memory_efficient",
     "differs in rows without keys only, which are implementation-defined"},
    {"keras.MultiHeadAttention", "input", "query_mask", "this version of Keras ignores it"},
    {"keras.GroupedQueryAttention", "input", "query_mask", "this version of Keras ignores it"},
    {"rope_inv_freq", "attribute", "max_position_embeddings",
     "the scalings that depend on it read it"},
    {"timm.GlobalContext", "weight", "conv_attn.bias", "the same for all pixels: it cancels"},
    {"timm.", "weight", "norm.num_batches_tracked", "counts steps of training"},
};

}  // namespace

adapter_table all_adapters(const std::filesystem::path& model) {
  adapter_table table;
  add_torch_adapters(table);
  add_flex_adapters(table);
  add_onnx_adapters(table);
  add_keras_adapters(table);
  add_seq2seq_adapters(table);
  add_local_adapters(table);
  add_luong_adapters(table);
  add_other_adapters(table);
  add_positional_adapters(table);
  add_linear_adapters(table);
  add_layer_adapters(table);
  add_decoder_adapters(table);
  add_minilm_adapter(table, model);
  add_decomposable_adapters(table);
  add_vision_adapters(table);
  add_sparse_adapters(table);
  return table;
}

bool has_convention(const case_file& c) {
  return c.implementation_defined() ||
         std::any_of(std::begin(conventions), std::end(conventions),
                     [&](const text_pair& known) { return c.name.starts_with(known.first); });
}

std::string convention_of(const case_file& c) {
  for (const auto& [prefix, text] : conventions)
    if (c.name.starts_with(prefix)) return text;
  for (const auto& [prefix, text] : conventions_of_operations)
    if (c.op.starts_with(prefix)) return text;
  return "left to each library by " + c.op;
}

void require_all_read(const case_file& c) {
  for (const case_part& part : c.unread()) {
    const bool known =
        std::any_of(std::begin(irrelevant), std::end(irrelevant), [&](const irrelevant_part& i) {
          return part.kind == i.kind && part.name == i.name && c.op.starts_with(i.op);
        });
    if (!known)
      c.fail(part.line, part.kind + " " + part.name + " is not read by the adapter of " + c.op);
  }
}

void agree(const case_file& c, const std::string& attribute, double is) {
  if (!c.has(attribute)) return;
  const double given = c.number(attribute, is);
  if (given != is)
    c.fail(c.attributes.at(attribute).line, "attribute " + attribute + " is " + c.text(attribute) +
                                                ", the rest of the case says " +
                                                std::to_string(is));
}

std::vector<index> integers_of(const case_file& c, const tensor& t) {
  constexpr double largest = std::numeric_limits<std::int32_t>::max();
  std::vector<index> integers;
  for (const double value : t.values) {
    if (!(std::floor(value) == value && std::abs(value) <= largest))
      c.fail(t.line, "small whole numbers are needed here");
    integers.push_back(static_cast<index>(value));
  }
  return integers;
}

std::vector<index> lengths_of(const case_file& c, const tensor& t, index batches, index limit) {
  if (t.rank() != 1 || t.shape[0] != batches) c.fail(t.line, "one length for each batch is needed");
  const std::vector<index> lengths = integers_of(c, t);
  for (const index length : lengths)
    if (length < 0 || length > limit)
      c.fail(t.line,
             "length " + std::to_string(length) + " is not between 0 and " + std::to_string(limit));
  return lengths;
}

grid key_mask(const case_file& c, const tensor& t, index batches, index keys) {
  if (t.rank() != 2) c.fail(t.line, "a mask (batch, keys) is needed here");
  tensor spread = t;
  spread.shape = {t.shape[0], 1, 1, t.shape[1]};
  return aligned(c, spread, batches, 1, 1, keys);
}

namespace {

/// f of the entries of both, broadcast.
template <class F>
grid joined(const grid& a, const grid& b, const F& f) {
  grid both = grid::zeros(std::max(a.batches, b.batches), std::max(a.heads, b.heads),
                          std::max(a.rows, b.rows), std::max(a.cols, b.cols));
  const auto at = [](const grid& g, index n, index h, index i, index j) {
    return g.slice(n, h)[(g.rows == 1 ? 0 : i) * g.cols + (g.cols == 1 ? 0 : j)];
  };
  for_each_head(both, [&](index n, index h) {
    for (index i = 0; i < both.rows; ++i)
      for (index j = 0; j < both.cols; ++j)
        both.slice(n, h)[i * both.cols + j] = f(at(a, n, h, i, j), at(b, n, h, i, j));
  });
  return both;
}

}  // namespace

grid intersection(const grid& a, const grid& b) {
  return joined(a, b, [](double x, double y) { return x != 0 && y != 0 ? 1.0 : 0.0; });
}

grid sum(const grid& a, const grid& b) {
  return joined(a, b, [](double x, double y) { return x + y; });
}

}  // namespace conformance
