#pragma once

#include "softlook/detail/bound_call.hpp"
#include "softlook/detail/packed_linear.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// One step of a decoder: a context row and a row of weights for each query row given.
template <class T>
struct decoder_step {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix context;
  matrix weights;
};

namespace detail {

template <class T, class V>
[[nodiscard]] Eigen::Matrix<T, Eigen::Dynamic, 1> as_column(const V& v) {
  static_assert(V::IsVectorAtCompileTime, "softlook: v and b of an additive score are vectors");
  if constexpr (int(V::RowsAtCompileTime) == 1)
    return v.matrix().transpose();
  else
    return v.matrix();
}

/// Keys of additive scores as the few-query kernel of one instruction set reads them: packed, with
/// their exponentials and tangents. Three times the memory of the keys.
template <class T>
class prepared_keys {
 public:
  prepared_keys() = default;
  prepared_keys(const matrix_view<T>& K, instruction_set isa)
      : isa_(isa),
        at_(prepared_layout_for(K.rows, K.cols, registers_of<T>(isa), index(sizeof(T)))),
        memory_(std::size_t(at_.total)) {
    if (at_.total > 0) key_preparation_of<T>(isa)(K, at_, memory_.data());
  }

  /// Gives them to a call, unless it runs on another instruction set.
  void lend(attention_call<T>& call) const {
    if (memory_.empty() || call.isa != isa_) return;
    call.prepared = memory_.data();
    call.prepared_at = at_;
  }

 private:
  instruction_set isa_ = instruction_set::baseline;
  prepared_layout at_;
  aligned_vector<T> memory_;
};

/// A matrix whose memory begins at a cache line: where rows are whole lines, no vector of them
/// crosses two, which costs a fifth of the speed of reading them.
template <class T>
class aligned_rows {
 public:
  aligned_rows() = default;
  explicit aligned_rows(const row_major<T>& X)
      : memory_(std::size_t(X.size())), rows_(X.rows()), cols_(X.cols()) {
    std::copy(X.data(), X.data() + X.size(), memory_.begin());
  }
  [[nodiscard]] index rows() const { return rows_; }
  [[nodiscard]] index cols() const { return cols_; }
  [[nodiscard]] matrix_view<T> view() const { return {memory_.data(), rows_, cols_, cols_, 1}; }

 private:
  aligned_vector<T> memory_;
  index rows_ = 0;
  index cols_ = 0;
};

/// W packed for products with any rows of an input.
template <class T>
[[nodiscard]] packed_linear<T> packed(const row_major<T>& W,
                                      const Eigen::Matrix<T, Eigen::Dynamic, 1>& bias = {}) {
  return {view_of(W), as_row(view_of(bias)), activation::none};
}

/// X·W + bias; a row's bits do not depend on the other rows.
template <class T, dense_expression X>
[[nodiscard]] row_major<T> projected(const packed_linear<T>& W, const X& x, instruction_set isa) {
  static constexpr exec::sequential sequential{};
  row_major<T> out(x.rows(), W.outputs());
  const readable<X> rows(x);
  W.run(isa, ref_to(sequential), rows.view(), writable_view(out));
  return out;
}

/// The memory of a decoder's attention: keys, projected once, and values.
template <class T>
class decoder_memory {
 public:
  using matrix = typename decoder_step<T>::matrix;
  using vector = Eigen::Matrix<T, Eigen::Dynamic, 1>;

  /// Keys and values of the encoder, m rows each; only the first `length` are attended to.
  /// \throws shape_error  unless both have m rows and the keys fit the score.
  template <dense_expression K, dense_expression V>
  void set_memory(const K& keys, const V& values, std::optional<index> length = {}) {
    static_assert(check_scalars<K, V, matrix>());
    const char* where = "set_memory";
    check_sizes(where, "values.rows()", values.rows(), "keys.rows()", keys.rows(),
                "each key has one value");
    check_key_features(where, keys.cols());
    const index used = length.value_or(keys.rows());
    if (used < 0 || used > keys.rows())
      raise_argument(
          where, "length", double(used),
          "it must lie between 0 and the number of keys, " + std::to_string(keys.rows()));
    const matrix real = keys.matrix().topRows(used);
    keys_ = aligned_rows<T>(project(real));
    prepared_ = takes_prepared_keys() ? prepared_keys<T>(keys_.view(), best_instruction_set())
                                      : prepared_keys<T>();
    values_ = aligned_rows<T>(values.matrix().topRows(used));
    rows_ = keys.rows();
    ready_ = true;
  }
  /// The same rows as keys and as values (Bahdanau's annotations).
  template <dense_expression M>
  void set_memory(const M& memory, std::optional<index> length = {}) {
    set_memory(memory, memory, length);
  }

  /// Rows of the memory, padding included.
  [[nodiscard]] index memory_size() const { return rows_; }

 protected:
  decoder_memory() = default;
  decoder_memory(const decoder_memory&) = default;
  decoder_memory(decoder_memory&&) = default;
  decoder_memory& operator=(const decoder_memory&) = default;
  decoder_memory& operator=(decoder_memory&&) = default;
  ~decoder_memory() = default;

  void check_ready(const char* where) const {
    if (!ready_)
      raise<argument_error>(std::string(where) +
                            ": there is no memory (call set_memory before the first step)");
  }
  /// A row for each key that is attended to.
  [[nodiscard]] strided_map<T> projected_keys() const { return map_of(keys_.view()); }

  template <class Score, class... Ps>
  [[nodiscard]] decoder_step<T> attend(const char* where, const matrix& queries, const Score& score,
                                       const Ps&... policies) const {
    check_ready(where);
    return attend_to(where, queries, keys_.view(), &prepared_, score, policies...);
  }

  /// The same for keys that stand for the projected ones.
  template <class Score, class... Ps>
  [[nodiscard]] decoder_step<T> attend_to(const char* where, const matrix& queries,
                                          const matrix_view<T>& keys,
                                          const prepared_keys<T>* prepared, const Score& score,
                                          const Ps&... policies) const {
    static_cast<void>(check_policies<T, Score, Ps...>() && check_single_head<Ps...>());
    decoder_step<T> out{matrix(queries.rows(), values_.cols()), matrix(queries.rows(), rows_)};
    const sorted_policies<T, Score, Ps...> sorted(where, score, policies...);
    attention_call<T> call = sorted.bind(view_of(queries), keys, values_.view());
    call.O = writable_view(out.context);
    call.weights = writable_view(out.weights).columns(0, keys.rows);
    if (call.opts.kernel != kernel::naive) call.opts.kernel = kernel::few_queries;
    if (prepared) prepared->lend(call);
    run(call);
    out.weights.rightCols(rows_ - keys.rows).setZero();
    return out;
  }

 private:
  virtual void check_key_features(const char* where, index features) const = 0;
  [[nodiscard]] virtual matrix project(const matrix& keys) = 0;
  /// Whether steps have additive scores of the projected keys as they are.
  [[nodiscard]] virtual bool takes_prepared_keys() const { return false; }

  aligned_rows<T> keys_;  // projected
  prepared_keys<T> prepared_;
  aligned_rows<T> values_;
  index rows_ = 0;
  bool ready_ = false;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
