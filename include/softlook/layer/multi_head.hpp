#pragma once

#include <string>
#include <vector>

#include "softlook/attention/attention.hpp"
#include "softlook/core/heads.hpp"
#include "softlook/layer/detail/attention_block.hpp"
#include "softlook/layer/rotary_positions.hpp"
#include "softlook/layer/weight_format.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup multi_head Multi-head attention
/// Several attentions beside each other, each with its columns of the features; keys and values may
/// be shared by groups of them (grouped-query, multi-query).
/// The calls of this page are those of attention() with heads{…}; the layer adds projections.
/// \cases tests/conformance/data/torch/mha, tests/conformance/data/other/keras_mha,
///        tests/conformance/data/onnx_attention/attention
/// \program examples/multi_head.cpp
/// \{

/// The weights of a multi-head layer. Matrices are inputs × outputs, as in the papers: of a torch
/// layer's (out, in) weights give the transpose. Heads lie beside each other.
template <class T>
struct multi_head_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  matrix Wq{};                   ///< features × (query·d)
  matrix Wk{};                   ///< key features × (kv·d)
  matrix Wv{};                   ///< value features × (kv·e)
  matrix Wo{};                   ///< (query·e) × output features
  row bq{}, bk{}, bv{}, bo{};    ///< empty: none
  row bias_k{}, bias_v{};        ///< one more key and value, projected (add_bias_kv); empty: none
  bool add_zero_attn = false;    ///< one more key and value, all zeros
  weight_format<T> weights{};    ///< how the four matrices are kept
  rotary_positions<T> rotary{};  ///< turns projected queries and keys; empty: not

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("Wq", p.Wq...);
    f("Wk", p.Wk...);
    f("Wv", p.Wv...);
    f("Wo", p.Wo...);
    f("bq", p.bq...);
    f("bk", p.bk...);
    f("bv", p.bv...);
    f("bo", p.bo...);
    f("bias_k", p.bias_k...);
    f("bias_v", p.bias_v...);
    f("add_zero_attn", p.add_zero_attn...);
    f("weights", p.weights...);
    f("rotary", p.rotary...);
  }
};

/// What multi_head::with_weights returns: output n×outputs, and the weights of each query head.
template <class Matrix>
struct multi_head_result {
  Matrix output;
  std::vector<Matrix> weights;
};

/// The mean of the heads' weights.
template <class Matrix>
[[nodiscard]] Matrix mean_of_heads(const std::vector<Matrix>& weights) {
  if (weights.empty()) return {};
  Matrix sum = weights.front();
  for (std::size_t h = 1; h < weights.size(); ++h) sum += weights[h];
  return sum / static_cast<typename Matrix::Scalar>(weights.size());
}

/// A multi-head attention layer with its projections:
///   O = [head_1 … head_H]·Wo + bo,
///   head_h = attention(Q·Wq_h + bq_h, K·Wk_g + bk_g, V·Wv_g + bv_g)
///
/// \see Vaswani et al., 2017, section 3.2.2. What torch.nn.MultiheadAttention computes, without
/// dropout; its masks, which say what to ignore, are masks::dense_ignoring(M) here.
/// Q: n×features, K: m×key features, V: m×value features -> n×outputs. The weights are packed once,
/// when the layer is made. A query without keys gets bo. An extra key (bias_k, add_zero_attn)
/// stands behind the given ones, with several sequences behind those of each; masks and transforms
/// speak of the given keys, and every query sees it. A rotary_embedding turns queries and given
/// keys, each by its position: that of its row in its sequence, or in the frame{…} that is given.
/// Cost: four projections and attention(). With options{.workspace} a call allocates nothing.
template <class T>
class multi_head : public detail::layer_defaults<multi_head<T>, T> {
 public:
  /// \throws shape_error     unless the matrices fit each other and the heads;
  ///         argument_error  for a weight that is not finite and is to be kept as int8.
  multi_head(const multi_head_parameters<T>& p, const heads& h) : block_(name_, p, h) {}

  [[nodiscard]] index features() const { return block_.features(); }
  [[nodiscard]] index outputs() const { return block_.outputs(); }
  [[nodiscard]] index extra_keys() const { return block_.extra_keys(); }

  /// O in Q's storage order.
  /// \param policies  transforms, a mask, an executor, options. The score is scaled dot-product.
  /// \throws shape_error, argument_error  as attention(), before anything is written.
  template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
  [[nodiscard]] auto operator()(const Q& q, const K& k, const V& v, const Ps&... policies) const {
    plain_matrix_like<Q> o(q.rows(), outputs());
    into(q, k, v, o, policies...);
    return o;
  }
  /// Self-attention: queries, keys and values are X.
  template <dense_expression X, class... Ps>
    requires(!dense_expression<Ps> && ...)
  [[nodiscard]] auto operator()(const X& x, const Ps&... policies) const {
    return (*this)(x, x, x, policies...);
  }

  /// Into the caller's n×outputs matrix, block or map, which is never resized.
  /// \throws argument_error  if O overlaps an input.
  template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
            class... Ps>
  void into(const Q& q, const K& k, const V& v, O&& o, const Ps&... policies) const {
    using entry = detail::layer_entry;
    if constexpr (entry::accepts<multi_head, Ps...>(detail::matrices<Q, K, V, O>{}))
      entry::into(*this,
                  input_of(detail::readable<Q>(q).view(), detail::readable<K>(k).view(),
                           detail::readable<V>(v).view()),
                  detail::writable_view(o), policies...);
  }

  /// The output and the weights of every query head, n×(m + extra_keys()). With several sequences a
  /// query has weights for the keys of its own, and for its own extra keys in the last columns.
  /// Cost: O(n·m) memory for each head.
  template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
  [[nodiscard]] auto with_weights(const Q& q, const K& k, const V& v, const Ps&... policies) const {
    multi_head_result<plain_matrix_like<Q>> result{(*this)(q, k, v, policies...), {}};
    using entry = detail::layer_entry;
    if constexpr (entry::accepts<multi_head, Ps...>(detail::matrices<Q, K, V>{}))
      add_weights(input_of(detail::readable<Q>(q).view(), detail::readable<K>(k).view(),
                           detail::readable<V>(v).view()),
                  result.weights, policies...);
    return result;
  }
  template <dense_expression X, class... Ps>
    requires(!dense_expression<Ps> && ...)
  [[nodiscard]] auto with_weights(const X& x, const Ps&... policies) const {
    return with_weights(x, x, x, policies...);
  }

 private:
  friend detail::layer_entry;
  using inputs = detail::block_inputs<T>;
  using policy_rule = detail::multi_head_policies;
  static constexpr const char* name_ = "multi_head";

  [[nodiscard]] static inputs input_of(const matrix_view<T>& Q, const matrix_view<T>& K,
                                       const matrix_view<T>& V) {
    return {name_, Q, K, V};
  }
  void check(const inputs& in) const { block_.check(in); }
  void check_output(const inputs& in, const mutable_matrix_view<T>& O) const {
    detail::check_output_of(
        in, O, {"outputs()", outputs(), "an output row has an entry for each column of Wo"});
  }
  [[nodiscard]] index scratch_size(const inputs& in, const detail::call_policies<T>& call) const {
    return block_.scratch_size(in.Q.rows, in.K.rows, call);
  }
  void run(const inputs& in, const mutable_matrix_view<T>& O,
           const detail::scratch_space<T>& scratch, const detail::call_policies<T>& call) const {
    detail::row_chain<T> at_once(call);
    block_.run(at_once, in, O, {}, scratch, call);
  }
  template <class Matrix, class... Ps>
  void add_weights(const inputs& in, std::vector<Matrix>& to, const Ps&... ps) const {
    detail::layer_entry::show(
        *this, in,
        [&](const detail::scratch_space<T>& scratch, const detail::call_policies<T>& call) {
          detail::row_chain<T> at_once(call);
          for (auto& P : block_.weights(at_once, in, scratch, call)) to.emplace_back(std::move(P));
        },
        ps...);
  }

  detail::attention_block<T> block_;
};

/// \}

SOFTLOOK_NAMESPACE_END
