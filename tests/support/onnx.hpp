// Tensors of the ONNX operators with memory of their own, and ONNX Attention as its text says, in
// plain loops of long double.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "softlook/onnx/attention.hpp"
#include "tests/support/random.hpp"

namespace softlook_test {

/// A tensor that owns its numbers, one more than it needs, so that there is always memory.
template <class T>
struct owned {
  softlook::onnx::extents shape{};
  std::shared_ptr<T[]> numbers{};

  owned() = default;
  explicit owned(softlook::onnx::extents s, T value = T())
      : shape(s), numbers(new T[std::size_t(s.numbers()) + 1]) {
    std::fill_n(numbers.get(), size(), value);
  }
  Eigen::Index size() const { return shape.numbers(); }
  T& operator[](Eigen::Index k) const { return numbers[k]; }
  std::vector<T> copy() const { return {numbers.get(), numbers.get() + size()}; }
  operator softlook::onnx::tensor<T>() const { return {numbers.get(), shape}; }
  operator softlook::onnx::tensor<const T>() const { return {numbers.get(), shape}; }
};

template <class T>
owned<T> random_tensor(const softlook::onnx::extents& shape, generator& random) {
  owned<T> X(shape);
  for (Eigen::Index k = 0; k < X.size(); ++k) X[k] = static_cast<T>(random.normal());
  return X;
}

/// (B, H, n, d) as (B, n, H·d).
template <class T>
owned<T> side_by_side(const owned<T>& X) {
  const auto& s = X.shape;
  owned<T> Y({s[0], s[2], s[1] * s[3]});
  for (Eigen::Index b = 0; b < s[0]; ++b)
    for (Eigen::Index h = 0; h < s[1]; ++h)
      for (Eigen::Index i = 0; i < s[2]; ++i)
        for (Eigen::Index c = 0; c < s[3]; ++c)
          Y[((b * s[2] + i) * s[1] + h) * s[3] + c] = X[((b * s[1] + h) * s[2] + i) * s[3] + c];
  return Y;
}

/// Everything of a call of rank 4 in long double.
struct onnx_problem {
  Eigen::Index batch = 1, heads = 1, kv_heads = 1, queries = 1, keys = 1, features = 1, values = 1;
  std::vector<long double> Q, K, V;  // with the past
  Eigen::Index past = 0;
  std::vector<Eigen::Index> lengths{};  // of the sequences, or none
  std::vector<long double> mask{};      // (batch, heads, queries, keys), −∞ forbids; or none
};

struct onnx_truth {
  std::vector<long double> Y;
  std::vector<long double> stages[4];
  long double largest_score = 0;
};

/// The largest relative error of rounding float to a type of 16 bits; 0 for others.
template <class T>
constexpr double rounding_to() {
  if (std::is_same_v<T, Eigen::half>) return 0x1p-11;
  return std::is_same_v<T, Eigen::bfloat16> ? 0x1p-8 : 0;
}

/// Weights of one row of masked scores.
inline void soften(std::vector<long double>& row) {
  constexpr long double forbidden = -std::numeric_limits<long double>::infinity();
  const long double top = row.empty() ? forbidden : *std::max_element(row.begin(), row.end());
  long double sum = 0;
  for (long double& s : row) sum += s = top == forbidden ? 0 : std::exp(s - top);
  for (long double& s : row) s = sum == 0 ? 0 : s / sum;
}

inline onnx_truth onnx_attention(const onnx_problem& p,
                                 const softlook::onnx::attention_attributes& a) {
  using index = Eigen::Index;
  constexpr long double forbidden = -std::numeric_limits<long double>::infinity();
  onnx_truth t;
  const long double scale =
      a.scale ? static_cast<long double>(*a.scale)
              : 1 / std::sqrt(static_cast<long double>(std::max<index>(p.features, 1)));
  for (index b = 0; b < p.batch; ++b)
    for (index h = 0; h < p.heads; ++h)
      for (index i = 0; i < p.queries; ++i) {
        const index kv = b * p.kv_heads + h / (p.heads / p.kv_heads);
        const index length = p.lengths.empty() ? p.keys : p.lengths[std::size_t(b)];
        const index at = i + (p.lengths.empty() ? p.past : length - p.queries);
        std::vector<long double> row;
        for (index j = 0; j < p.keys; ++j) {
          long double s = 0;
          for (index c = 0; c < p.features; ++c)
            s += p.Q[std::size_t(((b * p.heads + h) * p.queries + i) * p.features + c)] *
                 p.K[std::size_t((kv * p.keys + j) * p.features + c)];
          t.stages[0].push_back(s *= scale);
          const long double cap = static_cast<long double>(a.softcap);
          if (cap > 0) s = cap * std::tanh(s / cap);
          t.stages[1].push_back(s);
          if (!p.mask.empty()) {
            const long double m =
                p.mask[std::size_t(((b * p.heads + h) * p.queries + i) * p.keys + j)];
            s = m == forbidden ? m : s + m;
          }
          const bool seen = j < length && (!a.is_causal || j <= at) &&
                            (a.left_window_size < 0 || j >= at - a.left_window_size) &&
                            (a.right_window_size < 0 || j <= at + a.right_window_size);
          if (!seen) s = forbidden;
          if (s != forbidden) t.largest_score = std::max(t.largest_score, std::fabs(s));
          t.stages[2].push_back(s);
          row.push_back(s);
        }
        soften(row);
        t.stages[3].insert(t.stages[3].end(), row.begin(), row.end());
        for (index c = 0; c < p.values; ++c) {
          long double y = 0;
          for (index j = 0; j < p.keys; ++j)
            if (row[std::size_t(j)] != 0)
              y += row[std::size_t(j)] * p.V[std::size_t((kv * p.keys + j) * p.values + c)];
          t.Y.push_back(y);
        }
      }
  return t;
}

/// The largest |actual − truth|; infinite where one of them is not finite and they differ.
template <class T>
double largest_difference(const owned<T>& actual, const std::vector<long double>& truth) {
  if (actual.size() != static_cast<Eigen::Index>(truth.size()))
    return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (Eigen::Index k = 0; k < actual.size(); ++k) {
    const auto is = static_cast<long double>(static_cast<double>(actual[k]));
    const long double should_be = truth[std::size_t(k)];
    if (is == should_be) continue;
    if (!std::isfinite(is) || !std::isfinite(should_be))
      return std::numeric_limits<double>::infinity();
    worst = std::max(worst, static_cast<double>(std::fabs(is - should_be)));
  }
  return worst;
}

}  // namespace softlook_test
