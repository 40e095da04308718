#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "batched.hpp"

namespace conformance {

/// A tensor that the library computed. `bound` is what a float run may add to the case's tolerance.
struct produced {
  std::vector<index> shape;
  std::vector<double> values;
  double bound = 0;
};
using outputs = std::map<std::string, produced>;

/// A case that the library cannot run today; the text is the reason in the summary.
struct unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A mode that says nothing about an operation: a model of float weights has no double run.
struct not_in_this_mode : std::runtime_error {
  not_in_this_mode() : std::runtime_error("the operation has no such mode") {}
};

/// Computes a case in one mode through public functions of the library. An adapter reshapes,
/// translates conventions into policies and composes; attention itself is never computed in it.
using adapter = std::function<outputs(const case_file&, const mode&)>;
using adapter_table = std::map<std::string, adapter>;

void add_torch_adapters(adapter_table& table);
void add_flex_adapters(adapter_table& table);
void add_onnx_adapters(adapter_table& table);
void add_keras_adapters(adapter_table& table);
void add_seq2seq_adapters(adapter_table& table);
void add_local_adapters(adapter_table& table);
void add_luong_adapters(adapter_table& table);
void add_other_adapters(adapter_table& table);
void add_positional_adapters(adapter_table& table);
void add_linear_adapters(adapter_table& table);
void add_layer_adapters(adapter_table& table);
void add_decoder_adapters(adapter_table& table);
/// `model` is the folder of the sentence encoder's weights; empty: its cases are skipped.
void add_minilm_adapter(adapter_table& table, const std::filesystem::path& model);
void add_decomposable_adapters(adapter_table& table);
void add_vision_adapters(adapter_table& table);
void add_sparse_adapters(adapter_table& table);

adapter_table all_adapters(const std::filesystem::path& model = {});

/// Whether the library may differ from the origin of a case: it is implementation-defined, or the
/// origin departs from its own formula.
bool has_convention(const case_file& c);

/// The convention in which the library and the origin of such a case differ.
std::string convention_of(const case_file& c);

/// \throws case_error  unless everything of the case that bears on its outputs was read.
void require_all_read(const case_file& c);

/// An attribute that says what the shapes, or other parts of the case, say as well.
/// \throws case_error  if the case gives it another value.
void agree(const case_file& c, const std::string& attribute, double is);

inline produced heads_first(const grid& g, double bound) {
  return {{g.batches, g.heads, g.rows, g.cols}, g.values, bound};
}
inline produced tokens_first(const grid& g, double bound) {
  return {{g.batches, g.rows, g.heads, g.cols}, reordered(g).values, bound};
}
inline produced three_dimensional(const grid& g, double bound) {
  return {{g.batches, g.rows, g.cols}, g.values, bound};
}
/// The heads of a token side by side: (B, L, heads·D).
inline produced packed(const grid& g, double bound) {
  return {{g.batches, g.rows, g.heads * g.cols}, reordered(g).values, bound};
}
inline produced reshaped(produced p, std::vector<index> shape) {
  p.shape = std::move(shape);
  return p;
}

/// The entries of a tensor as whole numbers. \throws case_error  unless all are, and small.
std::vector<index> integers_of(const case_file& c, const tensor& t);

/// One length for each batch, each between 0 and `limit`. \throws case_error
std::vector<index> lengths_of(const case_file& c, const tensor& t, index batches, index limit);

/// (B, T) of bool as a mask over keys: (B, 1, 1, T).
grid key_mask(const case_file& c, const tensor& t, index batches, index keys);

/// Both masks: 1 where either operand, broadcast, is 1 in both.
grid intersection(const grid& a, const grid& b);
/// The same with the sum of both.
grid sum(const grid& a, const grid& b);

}  // namespace conformance
