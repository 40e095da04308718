#pragma once

#include "softlook/core/norm_kind.hpp"
#include "softlook/engine/call/layer_call.hpp"
#include "softlook/engine/run/row_chain.hpp"

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

/// Columns of the matrices between the steps of a layer.
struct layer_widths {
  index features = 0;
  index hidden = 0;   // of the feed-forward
  index rounded = 0;  // the same: of a place for its inputs where it rounds them
};

/// Scratch of a layer, cut: matrices of rows, and what its attentions use. The hidden units lie
/// apart from that where a block of rows may be in the feed-forward while another is not.
template <class T>
struct layer_scratch {
  mutable_matrix_view<T> x;
  mutable_matrix_view<T> spare;
  mutable_matrix_view<T> hidden;
  mutable_matrix_view<T> rounded;
  scratch_space<T> of_attention;

  [[nodiscard]] static index size(index rows, const layer_widths& widths, index of_attention,
                                  const executor_ref& exec) {
    using cursor = matrix_cursor<T>;
    const index of_hidden = cursor::size(rows, widths.hidden) + cursor::size(rows, widths.rounded);
    return 2 * cursor::size(rows, widths.features) + (has_row_blocks(rows, exec.concurrency)
                                                          ? of_hidden + of_attention
                                                          : std::max(of_hidden, of_attention));
  }
  layer_scratch(const scratch_space<T>& scratch, index rows, const layer_widths& widths,
                const executor_ref& exec) {
    matrix_cursor<T> cursor(scratch);
    x = cursor.take(rows, widths.features);
    spare = cursor.take(rows, widths.features);
    of_attention = cursor.left();
    hidden = cursor.take(rows, widths.hidden);
    rounded = cursor.take(rows, widths.rounded);
    if (has_row_blocks(rows, exec.concurrency)) of_attention = cursor.left();
  }
};

/// Scalars of scratch that with_row_chain() takes for itself.
template <class T>
[[nodiscard]] index row_chain_scratch(const row_norm<T>& norm, index rows,
                                      const executor_ref& exec) {
  return matrix_cursor<T>::size(norm.workers(rows, exec), norm.scratch_size());
}

/// f(chain, scratch) is what a layer or a stack does with its rows; what it puts off is done at the
/// end.
template <class T, class F>
void with_row_chain(const layer_call& call, const row_norm<T>& norm, index rows,
                    const scratch_space<T>& scratch, const F& f) {
  matrix_cursor<T> cursor(scratch);
  const auto norm_rows = cursor.take(norm.workers(rows, call.exec), norm.scratch_size());
  row_chain<T> chain(call, rows, norm_rows.data);
  f(chain, cursor.left());
  chain.run();
}

template <class Row>
struct norm_parameters {
  const char* gain_name;
  const Row& gain;
  const char* bias_name;
  const Row& bias;

  /// \throws shape_error  unless gain and bias have an entry for each feature, or bias none.
  void check(const char* where, index features) const {
    check_sizes(where, gain_name, gain.size(), "Wq.rows()", features, one_size_of_layer);
    (void)checked_row(where, bias_name, view_of(bias), "features()", features);
  }
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
    p.check(where, features);
    norm_ = {view_of(p.gain),
             checked_row(where, p.bias_name, view_of(p.bias), "features()", features), o.epsilon,
             o.norm == norm_kind::layer};
  }

  [[nodiscard]] const row_norm<T>& norm() const { return norm_; }
  [[nodiscard]] bool norm_first() const { return norm_first_; }

  /// What f sees; `to` is written where it is not X itself.
  [[nodiscard]] matrix_view<T> input(row_chain<T>& chain, const matrix_view<T>& X,
                                     const mutable_matrix_view<T>& to) const {
    if (!norm_first_) return X;
    chain.norm(norm_, X, to);
    return as_input(to);
  }

  /// f(from, to, residual) writes to = f(from) + residual; a product reads an entry of the residual
  /// just before it writes that entry, so Y may be X.
  template <class F>
  void run(row_chain<T>& chain, const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const mutable_matrix_view<T>& spare, const F& f) const {
    const matrix_view<T> from = input(chain, X, spare);
    f(from, norm_first_ ? Y : spare, X);
    if (!norm_first_) chain.norm(norm_, as_input(spare), Y);
  }

 private:
  row_norm<T> norm_;
  bool norm_first_ = false;
};

/// \throws shape_error  unless the matrices of a feed-forward fit each other and the features,
/// whose
///         number is that of what has this name.
template <class Parameters>
void check_feed_forward(const char* where, const Parameters& p, const char* of, index features) {
  const auto is = [&](const char* what, index size, const char* like, index wanted,
                      const char* rule) { check_sizes(where, what, size, like, wanted, rule); };
  is("W1.rows()", p.W1.rows(), of, features, one_size_of_layer);
  is("W2.cols()", p.W2.cols(), of, features, one_size_of_layer);
  is("W2.rows()", p.W2.rows(), "W1.cols()", p.W1.cols(), "W2 takes what W1 gives");
  (void)checked_row(where, "b1.size()", view_of(p.b1), "W1.cols()", p.W1.cols());
  (void)checked_row(where, "b2.size()", view_of(p.b2), "W2.cols()", features);
  if (p.W3.size() == 0 && p.b3.size() == 0) return;
  is("W3.rows()", p.W3.rows(), of, features, one_size_of_layer);
  is("W3.cols()", p.W3.cols(), "W1.cols()", p.W1.cols(), "a hidden unit has one gate");
  (void)checked_row(where, "b3.size()", view_of(p.b3), "W3.cols()", p.W3.cols());
}

/// f(X·W1 + b1)·W2 + b2, or with a gate (f(X·W1 + b1) ∘ (X·W3 + b3))·W2 + b2
template <class T>
class feed_forward_block {
 public:
  feed_forward_block() = default;
  /// \throws shape_error  unless the matrices of `p` fit each other and the features.
  template <class Parameters>
  feed_forward_block(const char* where, const Parameters& p, index features, activation f) {
    check_feed_forward(where, p, "Wq.rows()", features);
    const auto packed = [&](const auto& W, const auto& b, activation of_product) {
      const auto bias = checked_row(where, "a bias", view_of(b), "the columns", W.cols());
      return packed_linear<T>(where, view_of(W), bias, of_product, p.weights.packed());
    };
    first_ = packed(p.W1, p.b1, f);
    second_ = packed(p.W2, p.b2, activation::none);
    gated_ = p.W3.size() > 0 || p.b3.size() > 0;
    if (gated_) gate_ = packed(p.W3, p.b3, activation::none);
  }

  [[nodiscard]] std::size_t weight_bytes() const {
    return first_.bytes() + second_.bytes() + gate_.bytes();
  }
  [[nodiscard]] layer_widths widths() const {
    return {first_.inputs(), first_.outputs(),
            std::max(first_.rounded_columns(), second_.rounded_columns())};
  }
  /// Y = feed-forward + residual.
  void run(row_chain<T>& chain, const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const matrix_view<T>& residual, const layer_scratch<T>& scratch) const {
    const auto &hidden = scratch.hidden, &rounded = scratch.rounded;
    if (gated_) chain.product(gate_, X, hidden, rounded);
    chain.product(first_, X, hidden, rounded, {}, gated_ ? as_input(hidden) : matrix_view<T>{});
    chain.product(second_, as_input(hidden), Y, rounded, residual);
  }

 private:
  packed_linear<T> first_;
  packed_linear<T> second_;
  packed_linear<T> gate_;
  bool gated_ = false;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
