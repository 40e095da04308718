#pragma once

#include <optional>
#include <vector>

#include "softlook/layer/detail/feed_forward.hpp"
#include "softlook/layer/detail/layer_stack.hpp"
#include "softlook/layer/matrix_layer.hpp"
#include "softlook/transformer/policies.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup transformer
/// \{

/// The weights of an encoder layer; matrices are inputs × outputs.
template <class T>
struct transformer_encoder_layer_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  multi_head_parameters<T> self_attention{};
  matrix W1{}, W2{};           ///< feed-forward: features × hidden, hidden × features
  row b1{}, b2{};              ///< empty: none
  matrix W3{};                 ///< of its gate: features × hidden; empty: no gate
  row b3{};                    ///< empty: none
  row gain1{}, bias1{};        ///< the norm of the attention; bias empty: none
  row gain2{}, bias2{};        ///< the norm of the feed-forward; bias empty: none
  weight_format<T> weights{};  ///< how the feed-forward's are kept; the attention has its own

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("self_attention", p.self_attention...);
    f("W1", p.W1...);
    f("W2", p.W2...);
    f("b1", p.b1...);
    f("b2", p.b2...);
    f("W3", p.W3...);
    f("b3", p.b3...);
    f("gain1", p.gain1...);
    f("bias1", p.bias1...);
    f("gain2", p.gain2...);
    f("bias2", p.bias2...);
    f("weights", p.weights...);
  }
};

using transformer_encoder_layer_options = transformer_layer_options;

/// One layer of a Transformer encoder:
///   post-norm  x' = norm1(x + attend(x)),  y = norm2(x' + feed(x'))
///   pre-norm   x' = x + attend(norm1(x)),  y = x' + feed(norm2(x'))
///   both       feed(x) = f(x·W1 + b1)·W2 + b2
///   with W3    feed(x) = (f(x·W1 + b1) ∘ (x·W3 + b3))·W2 + b2
///
/// \see Vaswani et al., 2017, section 3.1 (post-norm); Xiong et al., "On Layer Normalization in the
///      Transformer Architecture", 2020 (pre-norm); Shazeer, "GLU Variants Improve Transformer",
///      2020, Eq. (5) (the gate: SwiGLU with activation::silu).
/// Norms are layer norms, or RMS norms where the options say so; self_attention.rotary turns
/// queries and keys. Without W3 and these it computes what torch.nn.TransformerEncoderLayer does,
/// without dropout.
///
/// X: n×features -> n×features. A call takes what the attention does: transforms, a mask, an
/// executor, options. All products run on packed weights; bias, activation and residual are applied
/// to a tile while it is in cache.
template <class T>
class transformer_encoder_layer : public matrix_layer<transformer_encoder_layer<T>, T> {
 public:
  /// \throws shape_error, argument_error  unless everything fits.
  transformer_encoder_layer(const transformer_encoder_layer_parameters<T>& p,
                            const transformer_encoder_layer_options& o)
      : attention_(name_, p.self_attention, o.heads) {
    const index features = attention_.features();
    detail::check_features_of(name_, p.self_attention, features);
    detail::check_epsilon<T>(name_, o.epsilon);
    feed_forward_ = {name_, p, features, o.activation};
    using norm = detail::norm_parameters<typename transformer_encoder_layer_parameters<T>::row>;
    first_ = {name_, norm{"gain1.size()", p.gain1, "bias1.size()", p.bias1}, features, o};
    second_ = {name_, norm{"gain2.size()", p.gain2, "bias2.size()", p.bias2}, features, o};
  }

  [[nodiscard]] index features() const { return attention_.features(); }
  /// Of the packed weights, which a call reads.
  [[nodiscard]] std::size_t weight_bytes() const {
    return attention_.weight_bytes() + feed_forward_.weight_bytes();
  }

  /// What each query of this layer's self-attention looks at: n×n for every head.
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto attention_weights(const X& x, const Ps&... policies) const {
    std::vector<plain_matrix_like<X>> weights;
    if constexpr (detail::layer_entry::accepts<transformer_encoder_layer, Ps...>(
                      detail::matrices<X>{})) {
      const detail::readable<X> in(x);
      detail::layer_entry::show(
          *this, in.view(),
          [&](const detail::scratch_space<T>& scratch, const detail::call_policies<T>& call) {
            detail::with_row_chain(call, first_.norm(), x.rows(), scratch,
                                   [&](auto& chain, const auto& left) {
                                     add_weights(chain, in.view(), left, call, {}, weights);
                                   });
          },
          policies...);
    }
    return weights;
  }

 private:
  friend detail::layer_entry;
  template <class>
  friend class transformer_encoder;
  template <class>
  friend class causal_transformer;
  using policy_rule = detail::multi_head_policies;
  static constexpr const char* name_ = "transformer_encoder_layer";
  static constexpr const char* columns_name_ = "features()";

  void check(const matrix_view<T>& X) const { detail::check_features(name_, *this, X); }
  [[nodiscard]] index scratch_size(const matrix_view<T>& X,
                                   const detail::call_policies<T>& call) const {
    return detail::row_chain_scratch(first_.norm(), X.rows, call.exec) +
           detail::layer_scratch<T>::size(X.rows, feed_forward_.widths(),
                                          attention_.scratch_size(X.rows, X.rows, call), call.exec);
  }
  [[nodiscard]] detail::layer_scratch<T> cut_scratch(const detail::scratch_space<T>& scratch,
                                                     index rows,
                                                     const detail::executor_ref& exec) const {
    return {scratch, rows, feed_forward_.widths(), exec};
  }

  void run(const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>& scratch, const detail::call_policies<T>& call) const {
    detail::with_row_chain(call, first_.norm(), X.rows, scratch,
                           [&](auto& chain, const auto& left) { run(chain, X, Y, left, call); });
  }
  [[nodiscard]] static detail::block_inputs<T> inputs_of(const matrix_view<T>& seen,
                                                         const detail::earlier_rows<T>& earlier) {
    return {name_, seen, seen, seen, earlier.kept, earlier.count};
  }
  template <class Matrix>
  void add_weights(detail::row_chain<T>& chain, const matrix_view<T>& X,
                   const detail::scratch_space<T>& scratch, const detail::call_policies<T>& call,
                   const detail::earlier_rows<T>& earlier, std::vector<Matrix>& to) const {
    const detail::layer_scratch<T> cut = cut_scratch(scratch, X.rows, call.exec);
    const matrix_view<T> seen = first_.input(chain, X, cut.x);
    for (auto& P : attention_.weights(chain, inputs_of(seen, earlier), cut.of_attention, call))
      to.emplace_back(std::move(P));
  }
  /// As a part of a stack, whose chain it is.
  void run(detail::row_chain<T>& chain, const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>& scratch, const detail::call_policies<T>& call,
           const detail::earlier_rows<T>& earlier = {}) const {
    const detail::layer_scratch<T> cut = cut_scratch(scratch, X.rows, call.exec);
    using view = matrix_view<T>;
    using output = mutable_matrix_view<T>;
    first_.run(
        chain, X, cut.x, cut.spare, [&](const view& from, const output& to, const view& residual) {
          attention_.run(chain, inputs_of(from, earlier), to, residual, cut.of_attention, call);
        });
    second_.run(chain, detail::as_input(cut.x), Y, cut.spare,
                [&](const view& from, const output& to, const view& residual) {
                  feed_forward_.run(chain, from, to, residual, cut);
                });
  }

  detail::attention_block<T> attention_;
  detail::feed_forward_block<T> feed_forward_;
  detail::residual_part<T> first_;   // around the attention
  detail::residual_part<T> second_;  // around the feed-forward
};

/// A stack of encoder layers, with a norm at the end where one is given (pre-norm stacks need it).
///
/// \see Vaswani et al., 2017, section 3.1.
/// Computes what torch.nn.TransformerEncoder does.
///
/// X: n×features -> n×features. Policies as for a layer; all layers get the same ones.
template <class T>
class transformer_encoder : public matrix_layer<transformer_encoder<T>, T> {
 public:
  /// \throws argument_error without layers; shape_error unless all have the same features.
  explicit transformer_encoder(std::vector<transformer_encoder_layer<T>> layers,
                               std::optional<layer_norm<T>> final_norm = {})
      : stack_(name_, std::move(layers), std::move(final_norm)) {}

  [[nodiscard]] index features() const { return stack_.features(); }
  [[nodiscard]] const std::vector<transformer_encoder_layer<T>>& layers() const {
    return stack_.layers();
  }
  [[nodiscard]] const std::optional<layer_norm<T>>& final_norm() const {
    return stack_.final_norm();
  }

 private:
  friend detail::layer_entry;
  template <class>
  friend class transformer;
  using layer = transformer_encoder_layer<T>;
  using policy_rule = detail::multi_head_policies;
  static constexpr const char* name_ = "transformer_encoder";
  static constexpr const char* columns_name_ = "features()";

  void check(const matrix_view<T>& X) const { detail::check_features(name_, *this, X); }
  [[nodiscard]] index scratch_size(const matrix_view<T>& X,
                                   const detail::call_policies<T>& call) const {
    return stack_.scratch_size(X.rows, [&](const layer& l) { return l.scratch_size(X, call); });
  }
  void run(const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>& scratch, const detail::call_policies<T>& call) const {
    detail::with_row_chain(
        call, layers().front().first_.norm(), X.rows, scratch, [&](auto& chain, const auto& left) {
          stack_.run(chain, X, Y, left,
                     [&](const layer& l, std::size_t, const auto& from, const auto& to,
                         const auto& of_layer) { l.run(chain, from, to, of_layer, call); });
        });
  }

  detail::layer_stack<layer> stack_;
};

/// \}

SOFTLOOK_NAMESPACE_END
