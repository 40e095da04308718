#pragma once

#include "softlook/engine/call/layer_call.hpp"

// What the layers of a Transformer are made of besides attention.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

inline constexpr const char* one_size_of_layer =
    "every part of a layer takes and gives the same features";

/// \throws shape_error  unless an attention takes and gives rows of these features.
template <class Parameters>
void check_features_of(const char* where, const Parameters& p, index features) {
  check_sizes(where, "Wk.rows()", p.Wk.rows(), "Wq.rows()", features, one_size_of_layer);
  check_sizes(where, "Wv.rows()", p.Wv.rows(), "Wq.rows()", features, one_size_of_layer);
  check_sizes(where, "Wo.cols()", p.Wo.cols(), "Wq.rows()", features, one_size_of_layer);
}

/// Scratch of a layer, cut: two matrices of rows, the rows of a norm, and what its parts may use.
template <class T>
struct layer_scratch {
  mutable_matrix_view<T> x;
  mutable_matrix_view<T> spare;
  T* norm_rows;
  scratch_space<T> of_parts;

  [[nodiscard]] static index size(index rows, const row_norm<T>& norm, const executor_ref& exec) {
    using cursor = matrix_cursor<T>;
    return 2 * cursor::size(rows, norm.features()) +
           cursor::size(norm.workers(rows, exec), norm.scratch_size());
  }
  layer_scratch(const scratch_space<T>& scratch, index rows, const row_norm<T>& norm,
                const executor_ref& exec)
      : layer_scratch(matrix_cursor<T>(scratch), rows, norm, exec) {}

 private:
  // Members are cut off in their order.
  layer_scratch(matrix_cursor<T> cursor, index rows, const row_norm<T>& norm,
                const executor_ref& exec)
      : x(cursor.take(rows, norm.features())),
        spare(cursor.take(rows, norm.features())),
        norm_rows(cursor.take(norm.workers(rows, exec), norm.scratch_size()).data),
        of_parts(cursor.left()) {}
};

template <class Row>
struct norm_parameters {
  const char* gain_name;
  const Row& gain;
  const char* bias_name;
  const Row& bias;
};

/// A norm and a residual connection around a part f of a layer:
///   post-norm  y = norm(x + f(x)),    pre-norm  y = x + f(norm(x))
template <class T>
class residual_part {
 public:
  residual_part() = default;
  /// \throws shape_error  unless gain and bias have an entry for each feature, or bias none.
  template <class Row, class Options>
  residual_part(const char* where, const norm_parameters<Row>& p, index features, const Options& o)
      : norm_first_(o.norm_first) {
    check_sizes(where, p.gain_name, p.gain.size(), "Wq.rows()", features, one_size_of_layer);
    norm_ = {view_of(p.gain),
             checked_row(where, p.bias_name, view_of(p.bias), "features()", features), o.epsilon};
  }

  [[nodiscard]] const row_norm<T>& norm() const { return norm_; }
  [[nodiscard]] bool norm_first() const { return norm_first_; }

  /// What f sees; `to` is written where it is not X itself.
  [[nodiscard]] matrix_view<T> input(const layer_call& call, const matrix_view<T>& X,
                                     const mutable_matrix_view<T>& to, T* norm_rows) const {
    if (!norm_first_) return X;
    norm_.run(call.isa, call.exec, X, to, norm_rows);
    return as_input(to);
  }

  /// f(from, to, residual) writes to = f(from) + residual; a product reads an entry of the residual
  /// just before it writes that entry, so Y may be X.
  template <class F>
  void run(const layer_call& call, const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const layer_scratch<T>& scratch, const F& f) const {
    const matrix_view<T> from = input(call, X, scratch.spare, scratch.norm_rows);
    f(from, norm_first_ ? Y : scratch.spare, X);
    if (!norm_first_) norm_.run(call.isa, call.exec, as_input(scratch.spare), Y, scratch.norm_rows);
  }

 private:
  row_norm<T> norm_;
  bool norm_first_ = false;
};

/// f(X·W1 + b1)·W2 + b2
template <class T>
class feed_forward_block {
 public:
  feed_forward_block() = default;
  /// \throws shape_error  unless the matrices of `p` fit each other and the features.
  template <class Parameters>
  feed_forward_block(const char* where, const Parameters& p, index features, activation f) {
    const auto is = [&](const char* what, index size, const char* of, index wanted,
                        const char* rule) { check_sizes(where, what, size, of, wanted, rule); };
    is("W1.rows()", p.W1.rows(), "Wq.rows()", features, one_size_of_layer);
    is("W2.cols()", p.W2.cols(), "Wq.rows()", features, one_size_of_layer);
    is("W2.rows()", p.W2.rows(), "W1.cols()", p.W1.cols(), "W2 takes what W1 gives");
    first_ = {view_of(p.W1),
              checked_row(where, "b1.size()", view_of(p.b1), "W1.cols()", p.W1.cols()), f};
    second_ = {view_of(p.W2), checked_row(where, "b2.size()", view_of(p.b2), "W2.cols()", features),
               activation::none};
  }

  /// Scalars of scratch.
  [[nodiscard]] index scratch_size(index rows) const {
    return matrix_cursor<T>::size(rows, first_.outputs());
  }
  /// Y = feed-forward + residual.
  void run(const layer_call& call, const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const matrix_view<T>& residual, const scratch_space<T>& scratch) const {
    const auto hidden = matrix_cursor<T>(scratch).take(X.rows, first_.outputs());
    first_.run(call.isa, call.exec, X, hidden);
    second_.run(call.isa, call.exec, as_input(hidden), Y, residual);
  }

 private:
  packed_linear<T> first_;
  packed_linear<T> second_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
