#pragma once

#include <vector>

#include "softlook/detail/decoder_rows.hpp"
#include "softlook/detail/feed_forward.hpp"
#include "softlook/transformer_layer.hpp"

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
  matrix W1{}, W2{};     ///< feed-forward: features × hidden, hidden × features
  row b1{}, b2{};        ///< empty: none
  row gain1{}, bias1{};  ///< the norm of the self-attention; bias empty: none
  row gain2{}, bias2{};  ///< the norm of the attention to the memory
  row gain3{}, bias3{};  ///< the norm of the feed-forward
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
///
/// \see Vaswani et al., 2017, section 3.1; Xiong et al., 2020 (pre-norm).
/// Computes what torch.nn.TransformerDecoderLayer does, without dropout.
///
/// X: n×features, memory: m×memory features -> n×features. No attention is masked unless
/// for_target(…) or for_memory(…) says so. With options{.workspace} a call allocates nothing.
template <class T>
class transformer_decoder_layer {
 public:
  using scalar = T;

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
    detail::check_epsilon(name_, o.epsilon);
    feed_forward_ = {name_, p, features, o.activation};
    using norm = detail::norm_parameters<typename transformer_decoder_layer_parameters<T>::row>;
    self_.around = {name_, norm{"gain1.size()", p.gain1, "bias1.size()", p.bias1}, features, o};
    cross_.around = {name_, norm{"gain2.size()", p.gain2, "bias2.size()", p.bias2}, features, o};
    last_ = {name_, norm{"gain3.size()", p.gain3, "bias3.size()", p.bias3}, features, o};
  }

  [[nodiscard]] index features() const { return self_.block.features(); }
  [[nodiscard]] index memory_features() const { return cross_.block.key_inputs(); }

  /// Y in X's storage order.
  /// \param policies  for_target(mask, transforms), for_memory(…), an executor, options.
  /// \throws shape_error  unless X.cols() is features() and memory.cols() memory_features().
  template <dense_expression X, dense_expression M, class... Ps>
  [[nodiscard]] auto operator()(const X& x, const M& memory, const Ps&... policies) const {
    plain_matrix_like<X> y(x.rows(), x.cols());
    into(x, memory, y, policies...);
    return y;
  }
  /// Into the caller's matrix, block or map, which is never resized; it may be X itself.
  /// \throws argument_error  if Y overlaps X otherwise, or the memory.
  template <dense_expression X, dense_expression M, dense_expression Y, class... Ps>
  void into(const X& x, const M& memory, Y&& y, const Ps&... policies) const {
    if constexpr (detail::check_decoder_types<T, X, M, Y>::template with<Ps...>()) {
      const detail::readable<X> in(x);
      const detail::readable<M> seen(memory);
      const mutable_matrix_view<T> out = detail::writable_view(y);
      const detail::decoder_rows<T> rows{in.view(), seen.view()};
      detail::check_decoder_call(name_, *this, rows, out);
      detail::with_decoder_calls<T>(
          name_,
          [&](const auto& calls) {
            run_layer(calls, x.rows(), memory.rows(),
                      [&](const auto& scratch) { run(rows, out, scratch, calls); });
          },
          policies...);
    }
  }

  /// What each query looks at, in the target and in the memory. Cost: O(n·(n + m)) memory a head.
  template <dense_expression X, dense_expression M, class... Ps>
  [[nodiscard]] auto attention_weights(const X& x, const M& memory, const Ps&... policies) const {
    transformer_decoder_weights<plain_matrix_like<X>> weights;
    if constexpr (detail::check_decoder_types<T, X, M>::template with<Ps...>()) {
      const detail::readable<X> in(x);
      const detail::readable<M> seen(memory);
      const detail::decoder_rows<T> rows{in.view(), seen.view()};
      detail::check_decoder_inputs(name_, *this, rows);
      detail::with_decoder_calls<T>(
          name_,
          [&](const auto& calls) {
            run_layer(calls, x.rows(), memory.rows(), [&](const auto& scratch) {
              take_all_weights(rows, scratch, calls, weights);
            });
          },
          policies...);
    }
    return weights;
  }

 private:
  template <class>
  friend class transformer_decoder;
  static constexpr const char* name_ = "transformer_decoder_layer";

  /// Scalars of scratch for this many rows that are not kept.
  [[nodiscard]] index scratch_size(index rows, index memory_rows,
                                   const detail::executor_ref& exec) const {
    return detail::layer_scratch<T>::size(rows, last_.norm(), exec) +
           std::max({self_.block.scratch_size(rows, rows),
                     cross_.block.scratch_size(rows, memory_rows),
                     feed_forward_.scratch_size(rows)});
  }
  template <class F>
  void run_layer(const detail::decoder_calls<T>& calls, index rows, index memory_rows,
                 const F& f) const {
    detail::run_layer<T>(
        calls.target, [&](const auto& exec) { return scratch_size(rows, memory_rows, exec); }, f);
  }

  /// What a call of a layer computes in.
  struct rooms {
    detail::layer_scratch<T> scratch;
    softlook::workspace* inner;
    rooms(const transformer_decoder_layer& of, const detail::scratch_space<T>& memory, index rows,
          const detail::executor_ref& exec)
        : scratch(memory.start, rows, of.last_.norm(), exec), inner(memory.inner) {}
    [[nodiscard]] detail::scratch_space<T> of_attention() const { return {scratch.rest, inner}; }
  };

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
  void attend(const attention_part& part, const matrix_view<T>& X, const looked_at& where,
              const rooms& in, const detail::call_policies<T>& call) const {
    part.around.run(call, X, in.scratch.x, in.scratch,
                    [&](const matrix_view<T>& from, const mutable_matrix_view<T>& to,
                        const matrix_view<T>& residual) {
                      const matrix_view<T>& keys = where.memory ? *where.memory : from;
                      part.block.run({name_, from, keys, keys, where.kept, where.first_query}, to,
                                     residual, in.of_attention(), call);
                    });
  }
  template <class Matrix>
  void take_all_weights(const detail::decoder_rows<T>& rows, const detail::scratch_space<T>& memory,
                        const detail::decoder_calls<T>& calls,
                        transformer_decoder_weights<Matrix>& weights) const {
    const rooms in(*this, memory, rows.X.rows, calls.target.exec);
    const auto take = [&](const attention_part& part, const matrix_view<T>& asked,
                          const matrix_view<T>& keys, const detail::call_policies<T>& call,
                          std::vector<Matrix>& to) {
      for (auto& P : part.block.weights({name_, asked, keys, keys}, in.of_attention(), call))
        to.emplace_back(std::move(P));
    };
    const matrix_view<T> normed =
        self_.around.input(calls.target, rows.X, in.scratch.x, in.scratch.norm_rows);
    take(self_, normed, normed, calls.target, weights.target);
    attend(self_, rows.X, {}, in, calls.target);
    const matrix_view<T> asked = cross_.around.input(calls.memory, detail::as_input(in.scratch.x),
                                                     in.scratch.spare, in.scratch.norm_rows);
    take(cross_, asked, rows.memory, calls.memory, weights.memory);
  }
  void run(const detail::decoder_rows<T>& in, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>& memory, const detail::decoder_calls<T>& calls) const {
    const rooms room(*this, memory, in.X.rows, calls.target.exec);
    const matrix_view<T> x = detail::as_input(room.scratch.x);
    attend(self_, in.X, {nullptr, in.kept_target, in.first_query}, room, calls.target);
    attend(cross_, x, {&in.memory, in.kept_memory, in.first_query}, room, calls.memory);
    last_.run(calls.target, x, Y, room.scratch,
              [&](const matrix_view<T>& from, const mutable_matrix_view<T>& to,
                  const matrix_view<T>& residual) {
                feed_forward_.run(calls.target, from, to, residual, room.scratch.rest);
              });
  }

  attention_part self_;
  attention_part cross_;
  detail::feed_forward_block<T> feed_forward_;
  detail::residual_part<T> last_;  // around the feed-forward
};

/// \}

SOFTLOOK_NAMESPACE_END
