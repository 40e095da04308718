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

// By prefix; the first that fits counts.
constexpr text_pair reasons[] = {
    {"onnx.TensorScatter", "a key-value cache of the caller is not in the library yet"},
};

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

bool starts_with(const std::string& text, const char* prefix) { return text.rfind(prefix, 0) == 0; }

}  // namespace

adapter_table all_adapters(const std::filesystem::path& model) {
  adapter_table table;
  add_torch_adapters(table);
  add_flex_adapters(table);
  add_onnx_adapters(table);
  add_keras_adapters(table);
  add_seq2seq_adapters(table);
  add_local_adapters(table);
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

std::string missing_reason(const std::string& op) {
  for (const auto& [prefix, reason] : reasons)
    if (starts_with(op, prefix)) return reason;
  return "no adapter for " + op;
}

bool has_convention(const case_file& c) {
  return c.implementation_defined() ||
         std::any_of(std::begin(conventions), std::end(conventions),
                     [&](const text_pair& known) { return starts_with(c.name, known.first); });
}

std::string convention_of(const case_file& c) {
  for (const auto& [prefix, text] : conventions)
    if (starts_with(c.name, prefix)) return text;
  return "left to each library by " + c.op;
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

grid intersection(const grid& a, const grid& b) {
  grid both = grid::zeros(std::max(a.batches, b.batches), std::max(a.heads, b.heads),
                          std::max(a.rows, b.rows), std::max(a.cols, b.cols));
  const auto at = [](const grid& g, index n, index h, index i, index j) {
    return g.slice(n, h)[(g.rows == 1 ? 0 : i) * g.cols + (g.cols == 1 ? 0 : j)];
  };
  for_each_head(both, [&](index n, index h) {
    for (index i = 0; i < both.rows; ++i)
      for (index j = 0; j < both.cols; ++j)
        both.slice(n, h)[i * both.cols + j] =
            at(a, n, h, i, j) != 0 && at(b, n, h, i, j) != 0 ? 1 : 0;
  });
  return both;
}

}  // namespace conformance
