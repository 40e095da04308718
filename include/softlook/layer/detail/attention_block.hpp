#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "softlook/cache/kv_cache.hpp"
#include "softlook/engine/call/layer_policies.hpp"
#include "softlook/engine/run/row_chain.hpp"
#include "softlook/layer/detail/turned_rows.hpp"

// The inside of a multi-head layer.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Projected keys and values that outlive a call: the first `rows` of a cache; those of the call,
/// and the layer's own, go behind them, in place of what may be there. Where nothing but the
/// layer's own follows and they are there, nothing is written: forks go on sharing the page.
template <class T>
struct kept_keys {
  kv_cache<T>* cache = nullptr;
  index rows = 0;
};

/// The rows that come before those of a call: their keys and values, and how many there are.
template <class T>
struct earlier_rows {
  const kept_keys<T>* kept = nullptr;
  index count = 0;
};

template <class T>
struct block_inputs {
  const char* where;
  matrix_view<T> Q;
  matrix_view<T> K;
  matrix_view<T> V;
  const kept_keys<T>* kept = nullptr;
  index first_query = 0;  // position of query 0 in the problem of the policies
};

/// Sequences of a call of n queries and m keys. Of more than have rows the checks will say so.
template <class T>
[[nodiscard]] index sequences_of(const call_policies<T>& call, index n, index m) {
  if (!call.packed_rows.queries.empty()) return index(call.packed_rows.queries.size()) - 1;
  return call.padded_rows
             ? std::clamp<index>(call.padded_rows->sequences, 1, std::max<index>({n, m, 1}))
             : 1;
}

/// The weights of a multi-head layer.
/// \throws shape_error, argument_error  unless they fit each other and the heads.
template <class Parameters>
void check_attention_weights(const char* where, const Parameters& p, const heads& h) {
  const index kv = h.kv_or_query();
  check_heads(where, h.query, kv);
  check_columns_of_heads(where, "Wq.cols()", p.Wq.cols(), "heads.query", h.query);
  check_columns_of_heads(where, "Wk.cols()", p.Wk.cols(), "heads.kv", kv);
  check_columns_of_heads(where, "Wv.cols()", p.Wv.cols(), "heads.kv", kv);
  check_sizes(where, "Wk.cols()", p.Wk.cols() / kv, "Wq.cols()", p.Wq.cols() / h.query,
              "queries and keys share one feature size for each head");
  check_sizes(where, "Wo.rows()", p.Wo.rows(), "Wv.cols()", p.Wv.cols() / kv * h.query,
              "Wo takes a value of each query head");
  const auto fits = [&](const char* name, const auto& b, const char* of, index columns) {
    (void)checked_row(where, name, view_of(b), of, columns);
  };
  fits("bq.size()", p.bq, "Wq.cols()", p.Wq.cols());
  fits("bk.size()", p.bk, "Wk.cols()", p.Wk.cols());
  fits("bv.size()", p.bv, "Wv.cols()", p.Wv.cols());
  fits("bo.size()", p.bo, "Wo.cols()", p.Wo.cols());
  fits("bias_k.size()", p.bias_k, "Wk.cols()", p.Wk.cols());
  fits("bias_v.size()", p.bias_v, "Wv.cols()", p.Wv.cols());
  if ((p.bias_k.size() > 0) != (p.bias_v.size() > 0))
    raise_sizes(where, "bias_k.size()", p.bias_k.size(), "bias_v.size()", p.bias_v.size(),
                "an extra key has a value");
  if (p.rotary)
    check_sizes(where, "rotary.head_features()", p.rotary.head_features(), "Wq.cols() of a head",
                p.Wq.cols() / h.query, "the features of a head turn");
}

/// Projections, attention, output projection; made of a multi_head_parameters<T>.
template <class T>
class attention_block {
 public:
  attention_block() = default;
  template <class Parameters>
  attention_block(const char* where, const Parameters& p, const heads& h)
      : query_heads_(h.query), kv_heads_(h.kv_or_query()) {
    check_attention_weights(where, p, h);
    const auto packed = [&](const auto& W, const auto& b) {
      const auto bias = checked_row(where, "a bias", view_of(b), "the columns", W.cols());
      return packed_linear<T>(where, view_of(W), bias, activation::none, p.weights.packed());
    };
    queries_ = packed(p.Wq, p.bq);
    keys_ = packed(p.Wk, p.bk);
    values_ = packed(p.Wv, p.bv);
    output_ = packed(p.Wo, p.bo);
    bias_k_.assign(p.bias_k.data(), p.bias_k.data() + p.bias_k.size());
    bias_v_.assign(p.bias_v.data(), p.bias_v.data() + p.bias_v.size());
    zero_key_ = p.add_zero_attn;
    rotary_ = p.rotary;
  }

  [[nodiscard]] index features() const { return queries_.inputs(); }
  [[nodiscard]] index outputs() const { return output_.outputs(); }
  [[nodiscard]] index key_inputs() const { return keys_.inputs(); }
  [[nodiscard]] index key_outputs() const { return keys_.outputs(); }
  [[nodiscard]] index value_outputs() const { return values_.outputs(); }
  [[nodiscard]] std::size_t weight_bytes() const {
    return queries_.bytes() + keys_.bytes() + values_.bytes() + output_.bytes();
  }
  [[nodiscard]] index extra_keys() const { return index(!bias_k_.empty()) + index(zero_key_); }

  /// Scalars of scratch.
  [[nodiscard]] index scratch_size(index queries, index keys, const call_policies<T>& call) const {
    using cursor = matrix_cursor<T>;
    const index all = keys + extra_keys() * sequences_of(call, queries, keys);
    return cursor::size(queries, queries_.outputs()) + cursor::size(all, keys_.outputs()) +
           cursor::size(all, values_.outputs()) + cursor::size(queries, output_.inputs()) +
           cursor::size(queries, rounded_columns()) + cursor::size(keys, keys_.rounded_columns()) +
           cursor::size(keys, values_.rounded_columns());
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

  /// Projects keys and values that are to be kept, with the layer's own behind them.
  void project(const layer_call& call, const matrix_view<T>& X, const kept_keys<T>& to) const {
    const index rows = X.rows + extra_keys();
    row_major<T> K(rows, keys_.outputs()), V(rows, values_.outputs());
    row_major<T> rounded(keys_.rounded_columns() > 0 ? X.rows : 0, keys_.rounded_columns());
    const auto into_K = writable_view(K), into_V = writable_view(V);
    const auto into_rounded = writable_view(rounded);
    run_products<T, 2>(products_of<T>(call.isa), call.exec,
                       {keys_.args(call.isa, X, into_K.rows_from(0, X.rows), into_rounded),
                        values_.args(call.isa, X, into_V.rows_from(0, X.rows), into_rounded)});
    add_extra_keys(bias_k_, {0, X.rows}, 0, into_K);
    add_extra_keys(bias_v_, {0, X.rows}, 0, into_V);
    to.cache->truncate(to.rows);
    to.cache->append(K, V);
  }

  /// O = layer + residual. The attention itself needs all rows of what was put off before it.
  void run(row_chain<T>& chain, const block_inputs<T>& in, const mutable_matrix_view<T>& O,
           const matrix_view<T>& residual, const scratch_space<T>& scratch,
           const call_policies<T>& policies) const {
    attention_call<T> call = projected_call(chain, in, scratch, policies);
    row_major<T> K, V;  // the naive kernel reads matrices
    if (in.kept && call.naive && call.opts.kernel == kernel::naive) {
      K = matrix_of_rows(call.key_rows);
      V = matrix_of_rows(call.value_rows);
      call.K = view_of(K);
      call.V = view_of(V);
    }
    detail::run(call);
    chain.product(output_, as_input(call.O), O, rounded_queries(in, scratch), residual);
  }

  /// The weights of every query head, n×(m + extra keys). A query of a sequence has none for keys
  /// of others; those of its own extra keys are the last columns.
  [[nodiscard]] std::vector<row_major<T>> weights(row_chain<T>& chain, const block_inputs<T>& in,
                                                  const scratch_space<T>& scratch,
                                                  const call_policies<T>& policies) const {
    attention_call<T> call = projected_call(chain, in, scratch, policies);
    row_major<T> K;  // weights are made of a matrix
    if (in.kept) {
      K = matrix_of_rows(call.key_rows);
      call.K = view_of(K);
    }
    call.O = {};
    return call.place_sequences ? weights_of_sequences(call, in.K.rows) : run_weights<false>(call);
  }

 private:
  /// Of a place for rows of queries, and of outputs, where they are rounded.
  [[nodiscard]] index rounded_columns() const {
    return std::max(queries_.rounded_columns(), output_.rounded_columns());
  }
  [[nodiscard]] mutable_matrix_view<T> rounded_queries(const block_inputs<T>& in,
                                                       const scratch_space<T>& scratch) const {
    return matrix_cursor<T>(scratch).take(in.Q.rows, rounded_columns());
  }

  /// The attention of the layer, once everything is checked and projected.
  [[nodiscard]] attention_call<T> projected_call(row_chain<T>& chain, const block_inputs<T>& in,
                                                 const scratch_space<T>& scratch,
                                                 const call_policies<T>& policies) const {
    matrix_cursor<T> cursor(scratch);
    // What rows of queries have lies before what depends on the number of keys: a chain may write
    // those of the next layer while it reads these.
    const auto rounded_Q = cursor.take(in.Q.rows, rounded_columns());
    const auto Q = cursor.take(in.Q.rows, queries_.outputs());
    const auto O = cursor.take(in.Q.rows, output_.inputs());
    const index kept = in.kept ? in.kept->rows : 0;
    const index sequences = sequences_of(policies, in.Q.rows, in.K.rows);
    const index own = extra_keys() * sequences;
    const auto K = cursor.take(in.K.rows + own, keys_.outputs());
    const auto V = cursor.take(in.K.rows + own, values_.outputs());
    // What is rounded once is rounded into one place.
    const auto same = [](const matrix_view<T>& a, const matrix_view<T>& b) {
      return a.data == b.data && a.rows == b.rows && a.row_stride == b.row_stride &&
             a.col_stride == b.col_stride;
    };
    const auto own_K = cursor.take(in.K.rows, keys_.rounded_columns());
    const auto own_V = cursor.take(in.K.rows, values_.rounded_columns());
    const auto rounded_K = same(in.K, in.Q) ? rounded_Q : own_K;
    const auto rounded_V = same(in.V, in.K) ? rounded_K : own_V;
    attention_call<T> call(policies);
    call.where = in.where;
    call.query_heads = query_heads_;
    call.kv_heads = kv_heads_;
    call.opts.workspace = scratch.inner();
    call.Q = as_input(Q);
    // Known by their shape until they are made.
    call.K = {nullptr, kept + in.K.rows, keys_.outputs(), 0, 0};
    call.V = {nullptr, kept + in.K.rows, values_.outputs(), 0, 0};
    call.O = O;
    call.score = scores::scaled_dot{}.recipe<T>(in.where, 0, 0);
    call.frame.first_query = in.first_query;
    check_call(call);
    check_positions(in.where, "K.rows()", call.K.rows + own);
    check_turned_positions(rotary_, call);
    chain.template products<3>(
        {queries_.args(call.isa, in.Q, Q, rounded_Q),
         keys_.args(call.isa, in.K, K.rows_from(0, in.K.rows), rounded_K),
         values_.args(call.isa, in.V, V.rows_from(0, in.K.rows), rounded_V)});
    chain.run();
    turn_by_position(rotary_, call, Q, K.rows_from(0, in.K.rows));
    for (index s = own > 0 ? sequences : 0; s-- > 0;) {
      const range given = call.place_sequences ? call.sequences.keys_of(s) : range{0, in.K.rows};
      add_extra_keys(bias_k_, given, s, K);
      add_extra_keys(bias_v_, given, s, V);
    }
    call.frame.private_keys = extra_keys();
    if (in.kept) {
      call.K.rows += own;
      call.V.rows += own;
      kv_cache<T>& cache = *in.kept->cache;
      if (in.K.rows > 0 || cache.size() != kept + own) {
        cache.truncate(kept);
        cache.append(map_of(as_input(K)), map_of(as_input(V)));
      }
      call.key_rows = cache.keys().source(call.isa);
      call.value_rows = cache.values().source(call.isa);
    } else {
      call.K = as_input(K);
      call.V = as_input(V);
      read_in_place(call);
    }
    return call;
  }

  /// The weights of a call whose sequences have `keys` keys together, besides their extra ones.
  [[nodiscard]] std::vector<row_major<T>> weights_of_sequences(const attention_call<T>& call,
                                                               index keys) const {
    std::vector<row_major<T>> all(std::size_t(call.query_heads));
    for (row_major<T>& P : all) P.setZero(call.Q.rows, keys + extra_keys());
    for (index s = 0; s < call.sequences.count; ++s) {
      const range rows = call.sequences.queries_of(s), seen = call.sequences.keys_of(s);
      if (rows.empty()) continue;
      const std::vector<row_major<T>> own = run_weights<false>(sequence_of(call, s));
      for (std::size_t head = 0; head < all.size(); ++head)
        for (index i = 0; i < rows.count(); ++i)
          for (index j = 0; j < own[head].cols(); ++j)
            all[head](rows.begin + i, j < seen.count() ? seen.begin + j : keys + j - seen.count()) =
                own[head](i, j);
    }
    return all;
  }

  /// Moves the rows of sequence s behind the extra ones of those before it, and adds its own. X is
  /// packed, and the sequences behind it have been moved.
  void add_extra_keys(const std::vector<T>& bias, range given, index s,
                      const mutable_matrix_view<T>& X) const {
    const auto row = [&](index i) { return X.data + i * X.cols; };
    const index end = given.end + s * extra_keys();
    if (s > 0) std::copy_backward(row(given.begin), row(given.end), row(end));
    T* const zeros = std::copy(bias.begin(), bias.end(), row(end));
    if (zero_key_) std::fill_n(zeros, X.cols, T(0));
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
  rotary_positions<T> rotary_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
