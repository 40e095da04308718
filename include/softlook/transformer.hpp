#pragma once

#include <optional>
#include <vector>

#include "softlook/layer_norm.hpp"
#include "softlook/multi_head.hpp"
#include "softlook/projection.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// The weights of an encoder layer; matrices are inputs × outputs.
template <class T>
struct transformer_encoder_layer_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  multi_head_parameters<T> self_attention{};
  matrix W1{}, W2{};     ///< feed-forward: features × hidden, hidden × features
  row b1{}, b2{};        ///< empty: none
  row gain1{}, bias1{};  ///< the norm of the attention; bias empty: none
  row gain2{}, bias2{};  ///< the norm of the feed-forward; bias empty: none
};

struct transformer_encoder_layer_options {
  softlook::heads heads{};
  softlook::activation activation = softlook::activation::relu;
  bool norm_first = false;  ///< pre-norm; the paper's layer is post-norm
  double epsilon = 1e-5;    ///< of both norms
};

/// One layer of a Transformer encoder:
///   post-norm  x = norm1(x + attend(x));      y = norm2(x + f(x·W1 + b1)·W2 + b2)
///   pre-norm   x = x + attend(norm1(x));      y = x + f(norm2(x)·W1 + b1)·W2 + b2
///
/// \see Vaswani et al., 2017, section 3.1 (post-norm); Xiong et al., "On Layer Normalization in the
/// Transformer Architecture", 2020 (pre-norm). Computes what torch.nn.TransformerEncoderLayer does,
/// without dropout.
/// X: n×features -> n×features. All products run on packed weights; bias, activation and residual
/// are applied to a tile while it is in cache. With options{.workspace} a call allocates nothing.
template <class T>
class transformer_encoder_layer {
 public:
  using scalar = T;

  /// \throws shape_error, argument_error  unless everything fits.
  transformer_encoder_layer(const transformer_encoder_layer_parameters<T>& p,
                            const transformer_encoder_layer_options& o)
      : attention_(name_, p.self_attention, o.heads.query, o.heads.kv.value_or(o.heads.query)),
        norm_first_(o.norm_first) {
    check(p, o);
    const auto row = [](const auto& b) {
      return b.size() > 0 ? detail::view_of(b) : matrix_view<T>{};
    };
    first_ = {detail::view_of(p.W1), row(p.b1), o.activation};
    second_ = {detail::view_of(p.W2), row(p.b2), activation::none};
    norm1_ = {row(p.gain1), row(p.bias1), o.epsilon};
    norm2_ = {row(p.gain2), row(p.bias2), o.epsilon};
  }

  [[nodiscard]] index features() const { return attention_.features(); }

  /// Y in X's storage order.
  /// \param policies  for the attention: transforms, a mask, an executor, options.
  /// \throws shape_error  unless X.cols() is features().
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto operator()(const X& x, const Ps&... policies) const {
    plain_matrix_like<X> y(x.rows(), x.cols());
    into(x, y, policies...);
    return y;
  }
  /// Into the caller's matrix, block or map, which is never resized; it may be X itself.
  /// \throws argument_error  if Y overlaps X otherwise.
  template <dense_expression X, dense_expression Y, class... Ps>
  void into(const X& x, Y&& y, const Ps&... policies) const {
    if constexpr (detail::layer_inputs<T, X, Y>::template check<Ps...>()) {
      const detail::readable<X> in(x);
      const mutable_matrix_view<T> out = detail::writable_view(y);
      check_input(name_, features(), in.view(), out);
      const detail::layer_call call(name_, policies...);
      detail::call_memory memory(call.workspace);
      T* const start = memory.template take<T>(this->memory(x.rows(), call.exec));
      run(in.view(), out, {start, memory.inner()}, call, policies...);
    }
  }

  /// What each query of this layer's self-attention looks at: n×n for every head.
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto attention_weights(const X& x, const Ps&... policies) const {
    std::vector<plain_matrix_like<X>> weights;
    if constexpr (detail::layer_inputs<T, X>::template check<Ps...>()) {
      const detail::readable<X> in(x);
      check_features(name_, features(), x.cols());
      const detail::layer_call call(name_, policies...);
      detail::call_memory memory(call.workspace);
      detail::matrix_cursor<T> cursor(memory.template take<T>(this->memory(x.rows(), call.exec)));
      matrix_view<T> seen = in.view();
      if (norm_first_) {
        const auto normed = cursor.take(x.rows(), features());
        norm1_.run(call.isa, call.exec, seen, normed, cursor.rest());
        seen = detail::as_input(normed);
      }
      for (auto& P : attention_.weights({name_, seen, seen, seen}, {cursor.rest(), memory.inner()},
                                        policies...))
        weights.emplace_back(std::move(P));
    }
    return weights;
  }

 private:
  template <class>
  friend class transformer_encoder;
  static constexpr const char* name_ = "transformer_encoder_layer";

  static void check(const transformer_encoder_layer_parameters<T>& p,
                    const transformer_encoder_layer_options& o) {
    const index features = p.self_attention.Wq.rows(), hidden = p.W1.cols();
    const auto is = [](const char* what, index size, const char* of, index wanted,
                       const char* rule) {
      detail::check_sizes(name_, what, size, of, wanted, rule);
    };
    constexpr const char* one_size = "every part of a layer takes and gives the same features";
    const char* const wq = "Wq.rows()";
    is("Wk.rows()", p.self_attention.Wk.rows(), wq, features, one_size);
    is("Wv.rows()", p.self_attention.Wv.rows(), wq, features, one_size);
    is("Wo.cols()", p.self_attention.Wo.cols(), wq, features, one_size);
    is("W1.rows()", p.W1.rows(), wq, features, one_size);
    is("W2.cols()", p.W2.cols(), wq, features, one_size);
    is("W2.rows()", p.W2.rows(), "W1.cols()", hidden, "W2 takes what W1 gives");
    is("gain1.size()", p.gain1.size(), wq, features, one_size);
    is("gain2.size()", p.gain2.size(), wq, features, one_size);
    constexpr const char* each = "it has an entry for each of them, or none";
    if (p.b1.size() > 0) is("b1.size()", p.b1.size(), "W1.cols()", hidden, each);
    if (p.b2.size() > 0) is("b2.size()", p.b2.size(), "W2.cols()", features, each);
    if (p.bias1.size() > 0) is("bias1.size()", p.bias1.size(), "gain1.size()", features, each);
    if (p.bias2.size() > 0) is("bias2.size()", p.bias2.size(), "gain2.size()", features, each);
    detail::check_epsilon(name_, o.epsilon);
  }

  static void check_features(const char* where, index features, index columns) {
    detail::check_sizes(where, "X.cols()", columns, "features()", features,
                        "a row of X has an entry for each feature");
  }
  static void check_input(const char* where, index features, const matrix_view<T>& X,
                          const mutable_matrix_view<T>& Y) {
    check_features(where, features, X.cols);
    detail::check_layer_output(where, Y, "X.rows()", X.rows, "features()", features);
    detail::check_in_place(where, Y, X);
  }

  /// Scalars of scratch: two matrices of rows, the norms' rows, and the attention's matrices or the
  /// hidden layer.
  [[nodiscard]] index memory(index rows, const detail::executor_ref& exec) const {
    using cursor = detail::matrix_cursor<T>;
    return 2 * cursor::size(rows, features()) +
           cursor::size(norm1_.workers(rows, exec), norm1_.scratch()) +
           std::max(attention_.memory(rows, rows), cursor::size(rows, first_.outputs()));
  }

  template <class... Ps>
  void run(const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const detail::block_memory<T>& memory, const detail::layer_call& call,
           const Ps&... policies) const {
    detail::matrix_cursor<T> cursor(memory.start);
    const auto x = cursor.take(X.rows, features()), t = cursor.take(X.rows, features());
    T* const row = cursor.take(norm1_.workers(X.rows, call.exec), norm1_.scratch()).data;
    const detail::block_memory<T> rest{cursor.rest(), memory.inner};
    const auto hidden = cursor.take(X.rows, first_.outputs());
    const auto norm = [&](const detail::row_norm<T>& n, const matrix_view<T>& from,
                          const mutable_matrix_view<T>& to) {
      n.run(call.isa, call.exec, from, to, row);
    };
    const auto attend = [&](const matrix_view<T>& from) {
      attention_.run({name_, from, from, from}, x, X, rest, policies...);
    };
    const auto feed_forward = [&](const matrix_view<T>& from, const mutable_matrix_view<T>& to) {
      first_.run(call.isa, call.exec, from, hidden);
      second_.run(call.isa, call.exec, detail::as_input(hidden), to, detail::as_input(x));
    };
    if (norm_first_) {
      norm(norm1_, X, t);
      attend(detail::as_input(t));
      norm(norm2_, detail::as_input(x), t);
      feed_forward(detail::as_input(t), Y);
    } else {
      attend(X);
      norm(norm1_, detail::as_input(x), x);
      feed_forward(detail::as_input(x), t);
      norm(norm2_, detail::as_input(t), Y);
    }
  }

  detail::attention_block<T> attention_;
  detail::packed_linear<T> first_;
  detail::packed_linear<T> second_;
  detail::row_norm<T> norm1_;
  detail::row_norm<T> norm2_;
  bool norm_first_;
};

/// A stack of encoder layers, with a norm at the end where one is given (pre-norm stacks need it).
///
/// \see Vaswani et al., 2017, section 3.1. Computes what torch.nn.TransformerEncoder does.
template <class T>
class transformer_encoder {
 public:
  using scalar = T;

  /// \throws argument_error without layers; shape_error unless all have the same features.
  explicit transformer_encoder(std::vector<transformer_encoder_layer<T>> layers,
                               std::optional<layer_norm<T>> final_norm = {})
      : layers_(std::move(layers)), final_norm_(std::move(final_norm)) {
    if (layers_.empty())
      detail::raise_argument(name_, "layers.size()", 0, "a stack has at least one layer");
    for (const layer& l : layers_)
      detail::check_sizes(name_, "layer.features()", l.features(), "features()", features(),
                          "all layers take and give the same features");
    if (final_norm_)
      detail::check_sizes(name_, "final_norm.features()", final_norm_->features(), "features()",
                          features(), "the norm takes what the layers give");
  }

  [[nodiscard]] index features() const { return layers_.front().features(); }
  [[nodiscard]] const std::vector<transformer_encoder_layer<T>>& layers() const { return layers_; }
  [[nodiscard]] const std::optional<layer_norm<T>>& final_norm() const { return final_norm_; }

  /// Y in X's storage order. Policies as for a layer; all layers get the same ones.
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto operator()(const X& x, const Ps&... policies) const {
    plain_matrix_like<X> y(x.rows(), x.cols());
    into(x, y, policies...);
    return y;
  }
  /// Into the caller's matrix, block or map, which is never resized; it may be X itself.
  template <dense_expression X, dense_expression Y, class... Ps>
  void into(const X& x, Y&& y, const Ps&... policies) const {
    if constexpr (detail::layer_inputs<T, X, Y>::template check<Ps...>()) {
      const detail::readable<X> in(x);
      const mutable_matrix_view<T> out = detail::writable_view(y);
      layer::check_input(name_, features(), in.view(), out);
      const detail::layer_call call(name_, policies...);
      index most = 0;
      for (const layer& l : layers_) most = std::max(most, l.memory(x.rows(), call.exec));
      detail::call_memory memory(call.workspace);
      detail::matrix_cursor<T> cursor(
          memory.template take<T>(most + cursor.size(x.rows(), features())));
      const auto between = cursor.take(x.rows(), features());
      const detail::block_memory<T> scratch{cursor.rest(), memory.inner()};
      matrix_view<T> from = in.view();
      for (const layer& l : layers_) {
        const bool last = &l == &layers_.back() && !final_norm_;
        l.run(from, last ? out : between, scratch, call, policies...);
        from = detail::as_input(between);
      }
      if (final_norm_) final_norm_->rows().run(call.isa, call.exec, from, out, scratch.start);
    }
  }

 private:
  using layer = transformer_encoder_layer<T>;
  static constexpr const char* name_ = "transformer_encoder";

  std::vector<layer> layers_;
  std::optional<layer_norm<T>> final_norm_;
};

SOFTLOOK_NAMESPACE_END
