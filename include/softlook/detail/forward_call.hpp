#pragma once

#include <cmath>

#include "softlook/core/score_recipe.hpp"
#include "softlook/core/workspace.hpp"
#include "softlook/detail/dispatch.hpp"
#include "softlook/detail/joined.hpp"
#include "softlook/detail/product.hpp"
#include "softlook/detail/tasks.hpp"

// A checked call, its memory, and what its score asks to be made of Q and K before the kernels see
// them.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// A checked call. Heads lie side by side in the columns of Q, K, V and O.
template <class T>
struct forward_call {
  const char* where = "attention";
  matrix_view<T> Q;
  matrix_view<T> K;
  matrix_view<T> V;
  mutable_matrix_view<T> O;
  mutable_matrix_view<T> log_sum_exp;  // n×heads, or no data
  index query_heads = 1;
  index kv_heads = 1;
  score_recipe<T> score;
  /// apply_projections(), or none where the score's type says that it projects nothing: such a call
  /// does not compile the product.
  void (*project)(forward_call&, const executor_ref&, T* memory) = nullptr;
  policy_calls<T> policy;
  options opts;
  const T* prepared = nullptr;  // keys of an additive score packed for `isa`, or none
  prepared_layout prepared_at;
  mutable_matrix_view<T> weights;  // n×m: of one head, by the naive and the few-query kernel
  instruction_set isa = instruction_set::baseline;

  [[nodiscard]] index query_features() const { return shared(Q.cols, query_heads); }
  [[nodiscard]] index key_features() const { return shared(K.cols, kv_heads); }
  [[nodiscard]] index values() const { return shared(V.cols, kv_heads); }
  [[nodiscard]] index group() const { return shared(query_heads, kv_heads); }
  /// One head is the rule, and a division is not free in a tiny call.
  [[nodiscard]] static constexpr index shared(index count, index heads) {
    return heads == 1 ? count : count / heads;
  }
  [[nodiscard]] problem shape(index head) const {
    return {std::int32_t(Q.rows), std::int32_t(K.rows), std::int32_t(head),
            std::int32_t(query_heads)};
  }
  [[nodiscard]] double scale() const {
    if (opts.scale || !score.scale_by_root) return opts.scale.value_or(1.0);
    // Not a choice between 1 and 1/√d: clang divides first, and 1/0 would raise FE_DIVBYZERO.
    return 1 / std::sqrt(double(std::max<index>(query_features(), 1)));
  }
};

/// Memory of one call: the caller's workspace, or a block that is freed at the end; tiny calls
/// stay off the heap.
class call_memory {
 public:
  explicit call_memory(softlook::workspace* given) : workspace_(given ? given : &own_) {}
  template <class T>
  [[nodiscard]] T* take(index count) {
    const auto bytes = static_cast<std::size_t>(count) * sizeof(T);
    std::byte* const block =
        workspace_ == &own_ && bytes <= sizeof small_ ? small_ : workspace_->reserve(bytes);
    return reinterpret_cast<T*>(block);
  }
  /// For a call inside this one.
  [[nodiscard]] softlook::workspace* inner() { return &workspace_->inner(); }

 private:
  workspace own_;
  workspace* workspace_;
  alignas(64) std::byte small_[16384];
};

/// What a call needs besides scratch: projected inputs, and the weights that project them, packed.
struct projection_sizes {
  index queries = 0;
  index keys = 0;
  index weights = 0;
  index v = 0;
  [[nodiscard]] index total() const { return queries + keys + weights + v; }
};

template <class T>
[[nodiscard]] projection_sizes sizes_of_projections(const forward_call<T>& c) {
  projection_sizes s;
  const auto room = [](index count) { return round_up(count, 16); };
  const auto packed = [](const matrix_view<T>& W) {
    return packed_size<T>(W.rows, W.cols) + round_up(W.cols, packed_panel_width<T>);
  };
  if (c.score.project_queries) {
    s.queries = room(c.Q.rows * c.query_heads * c.score.project_queries->cols);
    s.weights = packed(*c.score.project_queries);
  } else if (c.score.unit_rows) {
    s.queries = room(c.Q.rows * c.Q.cols);
  } else if (c.score.joined) {
    s.queries = room(c.Q.rows * (c.Q.cols + c.query_heads));
  }
  if (c.score.project_keys) {
    s.keys = room(c.K.rows * c.kv_heads * c.score.project_keys->cols);
    s.weights = std::max(s.weights, packed(*c.score.project_keys));
  } else if (c.score.unit_rows) {
    s.keys = room(c.K.rows * c.K.cols);
  } else if (c.score.joined) {
    s.keys = room(c.K.rows * (c.K.cols + c.kv_heads));
  }
  s.weights = room(s.weights);
  if (c.score.additive) s.v = weights_layout_for(c.score.v.cols).total;
  return s;
}

/// Rows of one head divided by their norm; the norm is taken in units of the largest entry, so that
/// it neither overflows nor vanishes.
template <class T>
void normalise_rows(const matrix_view<T>& X, T* out) {
  for (index i = 0; i < X.rows; ++i) {
    T most = 0;
    for (index c = 0; c < X.cols; ++c) {
      const T size = std::abs(X(i, c));
      most = size <= most ? most : size;
    }
    if (most == 0) {
      for (index c = 0; c < X.cols; ++c) out[c * X.rows + i] = 0;
      continue;
    }
    T squares = 0;
    for (index c = 0; c < X.cols; ++c) squares += (X(i, c) / most) * (X(i, c) / most);
    const T norm = std::sqrt(squares);
    for (index c = 0; c < X.cols; ++c) out[c * X.rows + i] = X(i, c) / most / norm;
  }
}

/// X·W + bias for every head.
template <class T>
matrix_view<T> project(const product_kernels<T>& kernels, const executor_ref& exec,
                       const matrix_view<T>& X, index heads, const matrix_view<T>& W,
                       const std::optional<matrix_view<T>>& bias, T* packed, T* out) {
  const index features = X.cols / heads, columns = heads * W.cols;
  kernels.pack(W, packed);
  linear_args<T> args;
  args.panels = packed;
  if (bias) {
    T* const row = packed + packed_size<T>(W.rows, W.cols);
    for (index c = 0; c < round_up(W.cols, packed_panel_width<T>); ++c)
      row[c] = c < W.cols ? (*bias)(0, c) : T(0);
    args.bias = row;
  }
  for (index head = 0; head < heads; ++head) {
    args.X = X.columns(head * features, features);
    args.Y = {out + head * W.cols, X.rows, W.cols, columns, 1};
    run_product(kernels, exec, args);
  }
  return {out, X.rows, columns, columns, 1};
}

template <class T>
matrix_view<T> unit_rows(const matrix_view<T>& X, index heads, T* out) {
  const index features = X.cols / heads;
  for (index h = 0; h < heads; ++h)
    normalise_rows(X.columns(h * features, features), out + h * features * X.rows);
  return {out, X.rows, X.cols, 1, X.rows};
}

/// Replaces Q and K by what the score asks for; afterwards every score is dot or additive.
template <class T>
void apply_projections(forward_call<T>& c, const executor_ref& exec, T* memory) {
  const product_kernels<T>& kernels = products_of<T>(c.isa);
  const projection_sizes sizes = sizes_of_projections(c);
  T* queries = memory;
  T* keys = memory + sizes.queries;
  if (c.score.unit_rows) {
    c.Q = unit_rows(c.Q, c.query_heads, queries);
    c.K = unit_rows(c.K, c.kv_heads, keys);
  }
  if (c.score.joined) {
    c.Q = joined_queries(c.Q, c.query_heads, *c.score.joined, queries);
    c.K = joined_keys(c.K, c.kv_heads, keys);
  }
  T* const packed = keys + sizes.keys;
  if (c.score.project_queries)
    c.Q = project(kernels, exec, c.Q, c.query_heads, *c.score.project_queries, c.score.query_bias,
                  packed, queries);
  if (c.score.project_keys)
    c.K = project(kernels, exec, c.K, c.kv_heads, *c.score.project_keys, {}, packed, keys);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
