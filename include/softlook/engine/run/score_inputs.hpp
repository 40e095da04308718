#pragma once

#include <type_traits>

#include "softlook/engine/run/attention_call.hpp"
#include "softlook/engine/run/product.hpp"
#include "softlook/engine/run/trilinear_inputs.hpp"

// What a score asks to be made of Q and K before the kernels see them, as steps: each knows the
// features and the memory of what it makes. Q and K of the call stay as they were given.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Queries or keys: rows of several heads beside each other.
template <class T>
struct score_side {
  matrix_view<T> X;
  index heads;
  [[nodiscard]] index features() const { return heads == 1 ? X.cols : X.cols / heads; }
};

/// X as it is.
template <class T>
struct keep_step {
  [[nodiscard]] static index features(index given) { return given; }
  [[nodiscard]] static index size(const score_side<T>&) { return 0; }
  [[nodiscard]] static index packed_weights() { return 0; }
  matrix_view<T> forward(const layer_call&, const score_side<T>& side, T*, T*) const {
    return side.X;
  }
};

/// X·W + bias in each head.
template <class T>
struct project_step {
  const matrix_view<T>& W;
  const std::optional<matrix_view<T>>& bias;

  [[nodiscard]] index features(index) const { return W.cols; }
  [[nodiscard]] index size(const score_side<T>& side) const {
    return side.X.rows * side.heads * W.cols;
  }
  [[nodiscard]] index packed_weights() const { return packed_size_with_bias<T>(W.rows, W.cols); }
  matrix_view<T> forward(const layer_call& call, const score_side<T>& side, T* packed,
                         T* out) const {
    return project(products_of<T>(call.isa), call.exec, side.X, side.heads, W, bias, packed, out);
  }
};

/// What rows are divided by and multiplied with: see row_norms. Without a gain by 1.
template <class T>
struct row_scale {
  T weight = 1;  // of the squares
  T root = 0;    // √ε
  matrix_view<T> gain{};
};

/// Rows of one head divided by their norm, times a gain; the norm is taken in units of the largest
/// entry (or of √ε, if that is larger), so that it neither overflows nor vanishes.
template <class T>
void normalise_rows(const matrix_view<T>& X, const row_scale<T>& how, T* out) {
  for (index i = 0; i < X.rows; ++i) {
    T most = 0;
    for (index c = 0; c < X.cols; ++c) {
      const T size = std::abs(X(i, c));
      most = size <= most ? most : size;
    }
    const T unit = how.root > most ? how.root : most;
    if (unit == 0) {
      for (index c = 0; c < X.cols; ++c) out[c * X.rows + i] = 0;
      continue;
    }
    T squares = 0;
    for (index c = 0; c < X.cols; ++c) squares += (X(i, c) / unit) * (X(i, c) / unit);
    const T root = how.root / unit;
    const T norm = std::sqrt(squares * how.weight + root * root);
    for (index c = 0; c < X.cols; ++c) out[c * X.rows + i] = X(i, c) / unit / norm;
    for (index c = 0; c < how.gain.cols; ++c) out[c * X.rows + i] *= how.gain(0, c);
  }
}

/// Rows of each head divided by their norm.
template <class T>
struct normalise_step {
  const row_norms<T>* norms = nullptr;  // null: the Euclidean one, alone
  bool queries = false;

  [[nodiscard]] static index features(index given) { return given; }
  [[nodiscard]] static index size(const score_side<T>& side) { return side.X.rows * side.X.cols; }
  [[nodiscard]] static index packed_weights() { return 0; }
  matrix_view<T> forward(const layer_call&, const score_side<T>& side, T*, T* out) const {
    const index features = side.features();
    row_scale<T> how;
    if (norms) {
      if (norms->mean) how.weight = T(1 / double(std::max<index>(features, 1)));
      how.root = T(std::sqrt(norms->epsilon));
      how.gain = queries ? norms->query_gain : norms->key_gain;
    }
    for (index h = 0; h < side.heads; ++h)
      normalise_rows(side.X.columns(h * features, features), how, out + h * features * side.X.rows);
    return {out, side.X.rows, side.X.cols, 1, side.X.rows};
  }
};

/// One feature more in each head: see trilinear_inputs.hpp.
template <class T>
struct join_step {
  const trilinear_weights<T>* weights;  // of queries; null: keys

  [[nodiscard]] static index features(index given) { return given + 1; }
  [[nodiscard]] static index size(const score_side<T>& side) {
    return side.X.rows * (side.X.cols + side.heads);
  }
  [[nodiscard]] static index packed_weights() { return 0; }
  matrix_view<T> forward(const layer_call&, const score_side<T>& side, T*, T* out) const {
    return weights ? trilinear_queries(side.X, side.heads, *weights, out)
                   : trilinear_keys(side.X, side.heads, out);
  }
};

/// f(the step of the queries, or of the keys).
template <class T, class F>
auto with_step(const score_recipe<T>& s, bool queries, const F& f) {
  static constexpr std::optional<matrix_view<T>> no_bias{};
  const auto& W = queries ? s.project_queries : s.project_keys;
  if (s.unit_rows || s.norm) return f(normalise_step<T>{s.norm ? &*s.norm : nullptr, queries});
  if (s.trilinear) return f(join_step<T>{queries ? &*s.trilinear : nullptr});
  if (W) return f(project_step<T>{*W, queries ? s.query_bias : no_bias});
  return f(keep_step<T>{});
}

template <class T>
[[nodiscard]] score_side<T> queries_of(const attention_call<T>& c) {
  return {c.Q, c.query_heads};
}
template <class T>
[[nodiscard]] score_side<T> keys_of(const attention_call<T>& c) {
  return {c.K, c.kv_heads};
}

/// Features of a head of queries once the steps are taken.
template <class T>
[[nodiscard]] index features_of_inputs(const attention_call<T>& c) {
  return with_step(c.score, true,
                   [&](const auto& step) { return step.features(c.query_features()); });
}

/// What a call needs besides scratch, in scalars: the inputs that its steps make, the weights of
/// projections, packed, and v of additive scores.
struct input_sizes {
  index queries = 0;
  index keys = 0;
  index weights = 0;
  index v = 0;
  [[nodiscard]] index total() const { return queries + keys + weights + v; }
};

template <class T>
[[nodiscard]] input_sizes sizes_of_inputs(const attention_call<T>& c) {
  input_sizes s;
  const auto add = [&](const score_side<T>& side, bool queries) {
    return with_step(c.score, queries, [&](const auto& step) {
      s.weights = std::max(s.weights, round_up(step.packed_weights(), 16));
      return round_up(step.size(side), 16);
    });
  };
  s.queries = add(queries_of(c), true);
  s.keys = add(keys_of(c), false);
  if (c.score.additive) s.v = score_vector_layout_for(c.score.v.cols).total;
  return s;
}

/// Takes the steps of both sides, one after the other, into memory of sizes_of_inputs().
template <class T>
[[nodiscard]] score_inputs<T> make_inputs(const attention_call<T>& c, T* space) {
  const input_sizes sizes = sizes_of_inputs(c);
  T* const packed = space + sizes.queries + sizes.keys;
  const auto made = [&](const score_side<T>& side, bool queries, T* out) {
    return with_step(c.score, queries,
                     [&](const auto& step) { return step.forward(c, side, packed, out); });
  };
  score_inputs<T> inputs;
  inputs.Q = made(queries_of(c), true, space);
  inputs.K = made(keys_of(c), false, space + sizes.queries);
  inputs.key_rows = source_of(inputs.K, stored_rows_of<T, T>(c.isa));
  return inputs;
}

/// What the kernels see: Q and K as they are, where the call takes no step.
template <class T>
[[nodiscard]] score_inputs<T> inputs_of(const attention_call<T>& c, T* space) {
  return c.inputs ? c.inputs(c, space)
                  : score_inputs<T>{c.Q, c.K, c.key_rows, c.heads_apart.Q, c.heads_apart.K};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
