#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "adapters.hpp"

/// What the cases of decoders' attention have in common: weights, steps, lengths.
namespace conformance {

template <class T>
matrix<T> weight_matrix(const case_file& c, const std::string& name) {
  const tensor& W = c.weight(name, 2);
  return Eigen::Map<const matrix<double>>(W.values.data(), W.shape[0], W.shape[1])
      .template cast<T>();
}

template <class T>
row<T> weight_row(const case_file& c, const std::string& name) {
  const tensor& v = c.weight(name);
  return Eigen::Map<const row<double>>(v.values.data(), static_cast<index>(v.values.size()))
      .template cast<T>();
}

/// (A, B, D) -> (B, 1, A, D): decoder steps become the queries of each batch, and back.
inline grid swapped(const grid& g) {
  return {g.rows, 1, g.batches, g.cols, reordered({1, g.batches, g.rows, g.cols, g.values}).values};
}

/// The parameters of v·tanh(q W_q + k W_k + b); b may be empty.
template <class T>
struct additive_parameters {
  matrix<T> Wq, Wk;
  row<T> v, b;

  score_size size(const head_problem<T>& p) const {
    const auto norm = [](const auto& X) { return X.template cast<double>().norm(); };
    const double reach = dot_magnitude(p.Q, matrix<T>::Ones(1, 1)) * norm(Wq) +
                         dot_magnitude(p.K, matrix<T>::Ones(1, 1)) * norm(Wk) + norm(b);
    return {(1 + reach) * v.template cast<double>().cwiseAbs().sum(), Wq.rows() + v.cols()};
  }
  softlook::bahdanau_attention<T> decoder() const {
    using attention = softlook::bahdanau_attention<T>;
    if (b.size() == 0) return attention(softlook::scores::additive{Wq, Wk, v});
    return attention(softlook::scores::additive{Wq, Wk, v, b});
  }
};

inline std::vector<std::optional<index>> memory_lengths(const case_file& c, const char* name,
                                                        const grid& memory) {
  std::vector<std::optional<index>> lengths(static_cast<std::size_t>(memory.batches));
  if (!c.has_input(name)) return lengths;
  const auto given = lengths_of(c, c.input(name), memory.batches, memory.rows);
  for (std::size_t b = 0; b < given.size(); ++b) lengths[b] = given[b];
  return lengths;
}

/// TensorFlow Addons sets memory past its length to zero; this shows in its keys only.
inline grid zeroed(grid memory, const std::vector<std::optional<index>>& lengths) {
  for (index b = 0; b < memory.batches; ++b) {
    const index length = lengths[static_cast<std::size_t>(b)].value_or(memory.rows);
    std::fill_n(memory.slice(b, 0) + length * memory.cols, (memory.rows - length) * memory.cols,
                0.0);
  }
  return memory;
}

/// Rows [cell_output, context] through the layer that follows attention in the suite's decoder.
inline grid beside(const grid& left, const grid& right) {
  grid g = grid::zeros(left.batches, 1, left.rows, left.cols + right.cols);
  for (index b = 0; b < g.batches; ++b) {
    matrix<double> X(g.rows, g.cols);
    X.leftCols(left.cols) = left.head<double>(b, 0);
    X.rightCols(right.cols) = right.head<double>(b, 0);
    g.set_head<double>(b, 0, X);
  }
  return g;
}

}  // namespace conformance
