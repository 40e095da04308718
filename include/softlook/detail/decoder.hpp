#pragma once

#include "softlook/detail/call.hpp"

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
    keys_ = project(real);
    values_ = values.matrix().topRows(used);
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
  [[nodiscard]] const matrix& projected_keys() const { return keys_; }

  template <class Score, class... Ps>
  [[nodiscard]] decoder_step<T> attend(const char* where, const matrix& queries, const Score& score,
                                       const Ps&... policies) const {
    check_ready(where);
    return attend_to(where, queries, keys_, score, policies...);
  }

  /// The same for keys that stand for the projected ones.
  template <class Score, class... Ps>
  [[nodiscard]] decoder_step<T> attend_to(const char* where, const matrix& queries,
                                          const matrix& keys, const Score& score,
                                          const Ps&... policies) const {
    static_cast<void>(check_policies<T, Score, Ps...>());
    decoder_step<T> out{matrix(queries.rows(), values_.cols()), matrix(queries.rows(), rows_)};
    forward_call<T> given;
    given.where = where;
    given.Q = view_of(queries);
    given.K = view_of(keys);
    given.V = view_of(values_);
    given.O = writable_view(out.context);
    sorted_call<T, Score, Ps...> sorted(given, score, policies...);
    out.weights.leftCols(keys.rows()) = run_weights(sorted.call, sorted.exec()).front();
    out.weights.rightCols(rows_ - keys.rows()).setZero();
    return out;
  }

 private:
  virtual void check_key_features(const char* where, index features) const = 0;
  [[nodiscard]] virtual matrix project(const matrix& keys) = 0;

  matrix keys_;  // projected
  matrix values_;
  index rows_ = 0;
  bool ready_ = false;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
