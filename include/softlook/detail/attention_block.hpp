#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "softlook/detail/extra_keys.hpp"
#include "softlook/detail/layer.hpp"

// The inside of a multi-head layer.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Projected keys and values that outlive a call: `rows` of them are there; those of the call, and
/// the layer's own, go behind them.
template <class T>
struct kept_keys {
  mutable_matrix_view<T> K;
  mutable_matrix_view<T> V;
  index rows = 0;
};

template <class T>
struct block_inputs {
  const char* where;
  matrix_view<T> Q;
  matrix_view<T> K;
  matrix_view<T> V;
  const kept_keys<T>* kept = nullptr;
};

/// Projections, attention, output projection; made of a multi_head_parameters<T>.
template <class T>
class attention_block {
 public:
  attention_block() = default;
  template <class Parameters>
  attention_block(const char* where, const Parameters& p, index query_heads, index kv_heads)
      : query_heads_(query_heads), kv_heads_(kv_heads) {
    check(where, p);
    const auto packed = [&](const auto& W, const char* name, const auto& b, const char* of) {
      const auto bias = checked_row(where, name, view_of(b), of, W.cols());
      return packed_linear<T>(view_of(W), bias, activation::none);
    };
    queries_ = packed(p.Wq, "bq.size()", p.bq, "Wq.cols()");
    keys_ = packed(p.Wk, "bk.size()", p.bk, "Wk.cols()");
    values_ = packed(p.Wv, "bv.size()", p.bv, "Wv.cols()");
    output_ = packed(p.Wo, "bo.size()", p.bo, "Wo.cols()");
    const auto extra = [&](const char* name, const auto& b, const char* of, index columns) {
      const auto row = checked_row(where, name, view_of(b), of, columns);
      return std::vector<T>(row.data, row.data + row.cols);
    };
    bias_k_ = extra("bias_k.size()", p.bias_k, "Wk.cols()", p.Wk.cols());
    bias_v_ = extra("bias_v.size()", p.bias_v, "Wv.cols()", p.Wv.cols());
    if ((p.bias_k.size() > 0) != (p.bias_v.size() > 0))
      raise_sizes(where, "bias_k.size()", p.bias_k.size(), "bias_v.size()", p.bias_v.size(),
                  "an extra key has a value");
    zero_key_ = p.add_zero_attn;
  }

  [[nodiscard]] index features() const { return queries_.inputs(); }
  [[nodiscard]] index outputs() const { return output_.outputs(); }
  [[nodiscard]] index key_inputs() const { return keys_.inputs(); }
  [[nodiscard]] index key_outputs() const { return keys_.outputs(); }
  [[nodiscard]] index value_outputs() const { return values_.outputs(); }
  [[nodiscard]] index extra_keys() const { return index(!bias_k_.empty()) + index(zero_key_); }

  /// Scalars of scratch.
  [[nodiscard]] index memory(index queries, index keys) const {
    using cursor = matrix_cursor<T>;
    const index all = keys + extra_keys();
    return cursor::size(queries, queries_.outputs()) + cursor::size(all, keys_.outputs()) +
           cursor::size(all, values_.outputs()) + cursor::size(queries, output_.inputs());
  }

  /// \throws shape_error unless the inputs fit the weights and each other.
  void check(const block_inputs<T>& in) const {
    const auto fits = [&](const char* name, index columns, const char* of, index rows) {
      check_sizes(in.where, name, columns, of, rows,
                  "a row has an entry for each row of the weight");
    };
    fits("Q.cols()", in.Q.cols, "Wq.rows()", queries_.inputs());
    fits("K.cols()", in.K.cols, "Wk.rows()", keys_.inputs());
    fits("V.cols()", in.V.cols, "Wv.rows()", values_.inputs());
    check_sizes(in.where, "V.rows()", in.V.rows, "K.rows()", in.K.rows, "each key has one value");
  }

  /// Projects keys and values that are to be kept.
  void project(const layer_call& call, const matrix_view<T>& X, const kept_keys<T>& to) const {
    run_products<T, 2>(products_of<T>(call.isa), call.exec,
                       {keys_.args(call.isa, X, to.K.rows_from(to.rows, X.rows)),
                        values_.args(call.isa, X, to.V.rows_from(to.rows, X.rows))});
  }

  /// O = layer + residual.
  template <class... Ps>
  void run(const block_inputs<T>& in, const mutable_matrix_view<T>& O,
           const matrix_view<T>& residual, const block_memory<T>& memory, const Ps&... ps) const {
    with_projections(
        in, memory,
        [&](auto& sorted) {
          sorted.run();
          output_.run(sorted.call.isa, sorted.exec(), as_input(sorted.call.O), O, residual);
        },
        ps...);
  }

  /// The weights of every query head, n×(m + extra keys).
  template <class... Ps>
  [[nodiscard]] std::vector<row_major<T>> weights(const block_inputs<T>& in,
                                                  const block_memory<T>& memory,
                                                  const Ps&... ps) const {
    std::vector<row_major<T>> P;
    with_projections(
        in, memory,
        [&](auto& sorted) {
          sorted.call.O = {};
          P = run_weights(sorted.call, sorted.exec());
        },
        ps...);
    return P;
  }

 private:
  /// f(sorted call) between the projections and what follows.
  template <class F, class... Ps>
  void with_projections(const block_inputs<T>& in, const block_memory<T>& memory, const F& f,
                        const Ps&... ps) const {
    const auto extra = static_cast<std::int32_t>(extra_keys());
    matrix_cursor<T> cursor(memory.start);
    const auto Q = cursor.take(in.Q.rows, queries_.outputs());
    kept_keys<T> keys;
    if (in.kept) {
      keys = *in.kept;
    } else {
      keys.K = cursor.take(in.K.rows + extra, keys_.outputs());
      keys.V = cursor.take(in.K.rows + extra, values_.outputs());
    }
    const index given = keys.rows + in.K.rows;
    forward_call<T> call;
    call.where = in.where;
    call.Q = as_input(Q);
    call.K = as_input(keys.K.rows_from(0, given + extra));
    call.V = as_input(keys.V.rows_from(0, given + extra));
    call.O = cursor.take(in.Q.rows, output_.inputs());
    call.query_heads = query_heads_;
    call.kv_heads = kv_heads_;
    const auto project_and = [&](auto&& sorted) {
      const instruction_set isa = sorted.call.isa;
      run_products<T, 3>(products_of<T>(isa), sorted.exec(),
                         {queries_.args(isa, in.Q, Q),
                          keys_.args(isa, in.K, keys.K.rows_from(keys.rows, in.K.rows)),
                          values_.args(isa, in.V, keys.V.rows_from(keys.rows, in.K.rows))});
      add_extra_keys(given, keys.K, keys.V);
      sorted.call.opts.workspace = memory.inner;
      f(sorted);
    };
    if (extra == 0)
      project_and(sorted_call(call, ps...));
    else
      project_and(sorted_call(call, for_given_keys(ps, extra)...));
  }

  void add_extra_keys(index at, const mutable_matrix_view<T>& K,
                      const mutable_matrix_view<T>& V) const {
    const auto fill = [](const mutable_matrix_view<T>& X, index row, const std::vector<T>& from) {
      for (index c = 0; c < X.cols; ++c) X(row, c) = from.empty() ? T(0) : from[std::size_t(c)];
    };
    if (!bias_k_.empty()) {
      fill(K, at, bias_k_);
      fill(V, at, bias_v_);
      ++at;
    }
    if (zero_key_) {
      fill(K, at, {});
      fill(V, at, {});
    }
  }

  template <class Parameters>
  void check(const char* where, const Parameters& p) const {
    if (query_heads_ < 1 || kv_heads_ < 1 || query_heads_ % kv_heads_ != 0)
      raise_sizes(where, "heads.query", query_heads_, "heads.kv", kv_heads_,
                  "each key and value head serves the same number of query heads");
    const auto divides = [&](const char* name, index columns, const char* of, index count) {
      if (columns % count != 0)
        raise_sizes(where, name, columns, of, count, "every head has the same number of columns");
    };
    divides("Wq.cols()", p.Wq.cols(), "heads.query", query_heads_);
    divides("Wk.cols()", p.Wk.cols(), "heads.kv", kv_heads_);
    divides("Wv.cols()", p.Wv.cols(), "heads.kv", kv_heads_);
    check_sizes(where, "Wk.cols()", p.Wk.cols() / kv_heads_, "Wq.cols()",
                p.Wq.cols() / query_heads_,
                "queries and keys share one feature size for each head");
    check_sizes(where, "Wo.rows()", p.Wo.rows(), "Wv.cols()",
                p.Wv.cols() / kv_heads_ * query_heads_, "Wo takes a value of each query head");
  }

  index query_heads_ = 1;
  index kv_heads_ = 1;
  packed_linear<T> queries_;
  packed_linear<T> keys_;
  packed_linear<T> values_;
  packed_linear<T> output_;
  std::vector<T> bias_k_;
  std::vector<T> bias_v_;
  bool zero_key_ = false;
};

/// A layer in T whose score is fixed.
template <class T, class... Xs>
struct layer_inputs {
  template <class... Ps>
  static constexpr bool check() {
    constexpr bool same = (std::is_same_v<scalar_of<Xs>, T> && ...);
    constexpr bool no_score = !(score_policy<Ps> || ...);
    static_assert(same, "softlook: a layer in T is applied to matrices of T");
    static_assert(no_score, "softlook: the score of a multi-head layer is scaled dot-product");
    if constexpr (same && no_score)
      return check_policies<T, Ps...>();
    else
      return false;
  }
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
