#pragma once

#include <vector>

#include "softlook/layer/detail/feed_forward.hpp"
#include "softlook/layer/matrix_layer.hpp"
#include "softlook/transformer/detail/decoder_inputs.hpp"
#include "softlook/transformer/policies.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup transformer
/// \{

/// The weights of a decoder layer; matrices are inputs × outputs.
template <class T>
struct transformer_decoder_layer_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  multi_head_parameters<T> self_attention{};
  multi_head_parameters<T> cross_attention{};  ///< Wk, Wv take what the memory has
  matrix W1{}, W2{};           ///< feed-forward: features × hidden, hidden × features
  row b1{}, b2{};              ///< empty: none
  matrix W3{};                 ///< of its gate: features × hidden; empty: no gate
  row b3{};                    ///< empty: none
  row gain1{}, bias1{};        ///< the norm of the self-attention; bias empty: none
  row gain2{}, bias2{};        ///< the norm of the attention to the memory
  row gain3{}, bias3{};        ///< the norm of the feed-forward
  weight_format<T> weights{};  ///< how the feed-forward's are kept; attentions have their own

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("self_attention", p.self_attention...);
    f("cross_attention", p.cross_attention...);
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
    f("gain3", p.gain3...);
    f("bias3", p.bias3...);
    f("weights", p.weights...);
  }
};

/// What a decoder layer's queries look at: n×n and n×m for every head.
template <class Matrix>
struct transformer_decoder_weights {
  std::vector<Matrix> target;
  std::vector<Matrix> memory;
};

/// One layer of a Transformer decoder:
///   post-norm  x' = norm1(x + attend(x)),  x'' = norm2(x' + attend(x', memory)),
///              y = norm3(x'' + feed(x''))
///   pre-norm   x' = x + attend(norm1(x)),  x'' = x' + attend(norm2(x'), memory),
///              y = x'' + feed(norm3(x''))
///   both       feed(x) = f(x·W1 + b1)·W2 + b2
///   with W3    feed(x) = (f(x·W1 + b1) ∘ (x·W3 + b3))·W2 + b2
///
/// \see Vaswani et al., 2017, section 3.1; Xiong et al., 2020 (pre-norm).
/// Computes what torch.nn.TransformerDecoderLayer does, without dropout.
///
/// X: n×features, memory: m×memory features -> n×features. No attention is masked unless
/// for_target(…) or for_memory(…) says so.
template <class T>
class transformer_decoder_layer : public memory_layer<transformer_decoder_layer<T>, T> {
 public:
  /// \throws shape_error, argument_error  unless everything fits.
  transformer_decoder_layer(const transformer_decoder_layer_parameters<T>& p,
                            const transformer_layer_options& o)
      : self_{{name_, p.self_attention, o.heads}, {}},
        cross_{{name_, p.cross_attention, o.heads}, {}} {
    const index features = self_.block.features();
    detail::check_features_of(name_, p.self_attention, features);
    const auto cross = [&](const char* what, index size, const char* of, index wanted) {
      detail::check_sizes(name_, what, size, of, wanted, detail::one_size_of_layer);
    };
    cross("cross_attention.Wq.rows()", p.cross_attention.Wq.rows(), "Wq.rows()", features);
    cross("cross_attention.Wo.cols()", p.cross_attention.Wo.cols(), "Wq.rows()", features);
    detail::check_sizes(name_, "cross_attention.Wv.rows()", p.cross_attention.Wv.rows(),
                        "cross_attention.Wk.rows()", p.cross_attention.Wk.rows(),
                        "both take a row of the memory");
    detail::check_epsilon<T>(name_, o.epsilon);
    feed_forward_ = {name_, p, features, o.activation};
    using norm = detail::norm_parameters<typename transformer_decoder_layer_parameters<T>::row>;
    self_.around = {name_, norm{"gain1.size()", p.gain1, "bias1.size()", p.bias1}, features, o};
    cross_.around = {name_, norm{"gain2.size()", p.gain2, "bias2.size()", p.bias2}, features, o};
    last_ = {name_, norm{"gain3.size()", p.gain3, "bias3.size()", p.bias3}, features, o};
  }

  [[nodiscard]] index features() const { return self_.block.features(); }
  [[nodiscard]] index memory_features() const { return cross_.block.key_inputs(); }

  /// What each query looks at, in the target and in the memory. Cost: O(n·(n + m)) memory a head.
  template <dense_expression X, dense_expression M, class... Ps>
  [[nodiscard]] auto attention_weights(const X& x, const M& memory, const Ps&... policies) const {
    transformer_decoder_weights<plain_matrix_like<X>> weights;
    if constexpr (detail::layer_entry::accepts<transformer_decoder_layer, Ps...>(
                      detail::matrices<X, M>{})) {
      const detail::readable<X> in(x);
      const detail::readable<M> seen(memory);
      const detail::decoder_rows<T> rows{in.view(), seen.view()};
      detail::layer_entry::show(
          *this, rows,
          [&](const detail::scratch_space<T>& scratch, const detail::decoder_calls<T>& calls) {
            take_all_weights(rows, scratch, calls, weights);
          },
          policies...);
    }
    return weights;
  }

 private:
  friend detail::layer_entry;
  template <class>
  friend class transformer_decoder;
  using policy_rule = detail::decoder_policies;
  static constexpr const char* name_ = "transformer_decoder_layer";
  static constexpr const char* columns_name_ = "features()";

  [[nodiscard]] static detail::decoder_rows<T> input_of(const matrix_view<T>& X,
                                                        const matrix_view<T>& memory) {
    return {X, memory};
  }
  void check(const detail::decoder_rows<T>& in) const {
    detail::check_decoder_inputs(name_, *this, in);
  }
  void check_output(const detail::decoder_rows<T>& in, const mutable_matrix_view<T>& Y) const {
    detail::check_decoder_output(name_, *this, in, Y);
  }
  /// For the rows that are not kept.
  [[nodiscard]] index scratch_size(const detail::decoder_rows<T>& in,
                                   const detail::decoder_calls<T>& calls) const {
    const index rows = in.X.rows;
    const detail::executor_ref& exec = calls.target.exec;
    return detail::row_chain_scratch(last_.norm(), rows, exec) +
           detail::layer_scratch<T>::size(
               rows, feed_forward_.widths(),
               std::max(self_.block.scratch_size(rows, rows, calls.target),
                        cross_.block.scratch_size(rows, in.memory.rows, calls.memory)),
               exec);
  }
  [[nodiscard]] detail::layer_scratch<T> cut_scratch(const detail::scratch_space<T>& scratch,
                                                     index rows,
                                                     const detail::executor_ref& exec) const {
    return {scratch, rows, feed_forward_.widths(), exec};
  }

  struct attention_part {
    detail::attention_block<T> block;
    detail::residual_part<T> around;
  };
  /// Where an attention finds its keys: in its own queries, or in a memory.
  struct looked_at {
    const matrix_view<T>* memory = nullptr;
    const detail::kept_keys<T>* kept = nullptr;
    index first_query = 0;
  };

  /// x = an attention of X with its norm and residual.
  void attend(detail::row_chain<T>& chain, const attention_part& part, const matrix_view<T>& X,
              const looked_at& where, const detail::layer_scratch<T>& cut,
              const detail::call_policies<T>& call) const {
    part.around.run(chain, X, cut.x, cut.spare,
                    [&](const matrix_view<T>& from, const mutable_matrix_view<T>& to,
                        const matrix_view<T>& residual) {
                      const matrix_view<T>& keys = where.memory ? *where.memory : from;
                      part.block.run(chain,
                                     {name_, from, keys, keys, where.kept, where.first_query}, to,
                                     residual, cut.of_attention, call);
                    });
  }
  template <class Matrix>
  void take_all_weights(const detail::decoder_rows<T>& rows,
                        const detail::scratch_space<T>& scratch,
                        const detail::decoder_calls<T>& calls,
                        transformer_decoder_weights<Matrix>& weights) const {
    detail::with_row_chain(
        calls, last_.norm(), rows.X.rows, scratch, [&](auto& chain, const auto& left) {
          const detail::layer_scratch<T> cut = cut_scratch(left, rows.X.rows, calls.target.exec);
          const auto take = [&](const attention_part& part, const matrix_view<T>& asked,
                                const matrix_view<T>& keys, const detail::call_policies<T>& call,
                                std::vector<Matrix>& to) {
            for (auto& P :
                 part.block.weights(chain, {name_, asked, keys, keys}, cut.of_attention, call))
              to.emplace_back(std::move(P));
          };
          const matrix_view<T> normed = self_.around.input(chain, rows.X, cut.x);
          take(self_, normed, normed, calls.target, weights.target);
          attend(chain, self_, rows.X, {}, cut, calls.target);
          const matrix_view<T> asked =
              cross_.around.input(chain, detail::as_input(cut.x), cut.spare);
          take(cross_, asked, rows.memory, calls.memory, weights.memory);
        });
  }
  void run(const detail::decoder_rows<T>& in, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>& scratch, const detail::decoder_calls<T>& calls) const {
    detail::with_row_chain(calls, last_.norm(), in.X.rows, scratch,
                           [&](auto& chain, const auto& left) { run(chain, in, Y, left, calls); });
  }
  /// As a part of a stack, whose chain it is.
  void run(detail::row_chain<T>& chain, const detail::decoder_rows<T>& in,
           const mutable_matrix_view<T>& Y, const detail::scratch_space<T>& scratch,
           const detail::decoder_calls<T>& calls) const {
    const detail::layer_scratch<T> cut = cut_scratch(scratch, in.X.rows, calls.target.exec);
    const matrix_view<T> x = detail::as_input(cut.x);
    attend(chain, self_, in.X, {nullptr, in.kept_target, in.first_query}, cut, calls.target);
    attend(chain, cross_, x, {&in.memory, in.kept_memory, in.first_query}, cut, calls.memory);
    last_.run(
        chain, x, Y, cut.spare,
        [&](const matrix_view<T>& from, const mutable_matrix_view<T>& to,
            const matrix_view<T>& residual) { feed_forward_.run(chain, from, to, residual, cut); });
  }

  attention_part self_;
  attention_part cross_;
  detail::feed_forward_block<T> feed_forward_;
  detail::residual_part<T> last_;  // around the feed-forward
};

/// \}

SOFTLOOK_NAMESPACE_END
