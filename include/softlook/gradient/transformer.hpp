#pragma once

#include <vector>

#include "softlook/gradient/detail/transformer_layers.hpp"
#include "softlook/gradient/norm.hpp"
#include "softlook/mask/causal.hpp"
#include "softlook/mask/combine.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// The weights of a stack of encoder layers, of transformer_encoder or of causal_transformer.
template <class T>
struct transformer_encoder_parameters {
  std::vector<transformer_encoder_layer_parameters<T>> layers{};
  norm_parameters<T> final_norm{};  ///< behind the last layer; an empty gain: none

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("layers", p.layers...);
    f("final_norm", p.final_norm...);
  }
};

/// The weights of a stack of decoder layers.
template <class T>
struct transformer_decoder_parameters {
  std::vector<transformer_decoder_layer_parameters<T>> layers{};
  norm_parameters<T> final_norm{};  ///< behind the last layer; an empty gain: none

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("layers", p.layers...);
    f("final_norm", p.final_norm...);
  }
};

/// What a layer or a stack of an encoder keeps: for each layer about 10·features·n numbers and
/// 2·hidden·n, 3·hidden·n with a gate, and for the way back half as much again. Nothing is n×n.
template <class T, class Kept>
struct saved_encoder {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Kept rows{};
  matrix dY{};  ///< as it was given
  matrix dX{};  ///< written by …_backward()

  [[nodiscard]] const matrix& Y() const { return rows.output(); }
  [[nodiscard]] std::size_t bytes() const {
    return rows.bytes() + detail::bytes_of(dY) + detail::bytes_of(dX);
  }
};
/// The same of a decoder, and its memory.
template <class T, class Kept>
struct saved_decoder : saved_encoder<T, Kept> {
  using matrix = typename saved_encoder<T, Kept>::matrix;
  matrix memory{};
  matrix dmemory{};  ///< written by …_backward()

  [[nodiscard]] std::size_t bytes() const {
    return saved_encoder<T, Kept>::bytes() + detail::bytes_of(memory) + detail::bytes_of(dmemory);
  }
};

template <class T>
using saved_transformer_encoder_layer = saved_encoder<T, detail::kept_encoder_layer<T>>;
template <class T>
using saved_transformer_encoder =
    saved_encoder<T, detail::kept_stack<T, detail::kept_encoder_layer<T>>>;
template <class T>
using saved_transformer_decoder_layer = saved_decoder<T, detail::kept_decoder_layer<T>>;
template <class T>
using saved_transformer_decoder =
    saved_decoder<T, detail::kept_stack<T, detail::kept_decoder_layer<T>>>;

namespace detail {

/// Weights, options, X and policies fit: of a layer or of a stack.
template <class T, class Parameters, class Inputs>
void check_way_ahead(const char* where, const Parameters& p, const transformer_layer_options& o,
                     const matrix_view<T>& X, const Inputs& in) {
  if constexpr (requires { p.layers; })
    check_stack<T>(where, p, o, X, in);
  else
    check_rows_of<T>(where, p, o, X, in);
}
template <class T, class Parameters, class Inputs, class Kept>
void go_ahead(const Parameters& p, const transformer_layer_options& o, const layer_call& call,
              const Inputs& in, const matrix_view<T>& X, Kept& kept) {
  matrix_products<T> products(call);
  const layer_run<T> run{products, o};
  if constexpr (requires { p.layers; })
    run_stack_forward<T>(run, p, in, X, kept);
  else
    run_layer_forward<T>(run, p, in, X, kept);
}
template <class T, class Parameters, class Inputs, class Saved>
void go_back(const Parameters& p, const transformer_layer_options& o, const layer_call& call,
             const Inputs& in, Saved& saved, Parameters& gradients) {
  matrix_products<T> products(call);
  const layer_run<T> run{products, o};
  if constexpr (requires { p.layers; })
    saved.dX = run_stack_backward<T>(run, p, in, saved.rows, saved.dY, gradients);
  else
    saved.dX = run_layer_backward<T>(run, p, in, saved.rows, view_of(saved.dY), gradients);
}

/// Gradients and dY fit.
template <class Parameters, class Saved, class G>
void check_way_back(const char* where, const Parameters& p, const Saved& saved, const G& dY,
                    const Parameters& gradients) {
  if constexpr (requires { p.layers; }) {
    check_sizes(where, "gradients.layers.size()", index(gradients.layers.size()),
                "weights.layers.size()", index(p.layers.size()),
                "a gradient has the shape of its weights");
    check_sizes(where, "weights.layers.size()", index(p.layers.size()), "layers that were run",
                index(saved.rows.layers.size()), "the way back is that of the way forward");
  }
  check_gradients(where, p, gradients);
  check_output_gradient(where, dY, saved.Y());
}

template <class T, class Parameters, class X, class Saved, class... Ps>
const auto& encoder_ahead(const char* where, const Parameters& p,
                          const transformer_layer_options& o, const X& x, Saved& saved,
                          const Ps&... ps) {
  static_assert(multi_head_policies::check<T, Ps...>());
  const readable<X> in(x);
  const inner_attention_of<T, Ps...> inner(where, ps...);
  const encoder_rows<T> rows{inner};
  check_way_ahead<T>(where, p, o, in.view(), rows);
  go_ahead<T>(p, o, layer_call_of(where, ps...), rows, in.view(), saved.rows);
  return saved.Y();
}
template <class T, class Parameters, class G, class Saved, class... Ps>
const auto& encoder_back(const char* where, const Parameters& p, const transformer_layer_options& o,
                         Saved& saved, const G& dY, Parameters& gradients, const Ps&... ps) {
  static_assert(multi_head_policies::check<T, Ps...>());
  check_way_back(where, p, saved, dY, gradients);
  saved.dY = dY;
  const inner_attention_of<T, Ps...> inner(where, ps...);
  go_back<T>(p, o, layer_call_of(where, ps...), encoder_rows<T>{inner}, saved, gradients);
  return saved.dX;
}

/// f(the attention to the rows, the attention to the memory), as the policies say.
template <class T, class F, class... Ps>
void with_decoder_attentions(const char* where, const F& f, const Ps&... ps) {
  static_assert(decoder_policies::check<T, Ps...>());
  with_inner_at<T, target_attention>(
      where,
      [&](const inner_attention<T>& self) {
        with_inner_at<T, memory_attention>(
            where, [&](const inner_attention<T>& cross) { f(self, cross); }, ps...);
      },
      ps...);
}
template <class T, class Parameters, class X, class M, class Saved, class... Ps>
const auto& decoder_ahead(const char* where, const Parameters& p,
                          const transformer_layer_options& o, const X& x, const M& memory,
                          Saved& saved, const Ps&... ps) {
  const readable<X> in(x);
  const readable<M> seen(memory);
  const layer_call call = layer_call_of(where, ps...);
  with_decoder_attentions<T>(
      where,
      [&](const inner_attention<T>& self, const inner_attention<T>& cross) {
        const auto rows = [&](const matrix_view<T>& at) {
          return decoder_attentions<T>{self, cross, at, {}};
        };
        check_way_ahead<T>(where, p, o, in.view(), rows(seen.view()));
        saved.memory = memory;
        go_ahead<T>(p, o, call, rows(view_of(saved.memory)), in.view(), saved.rows);
      },
      ps...);
  return saved.Y();
}
template <class T, class Parameters, class G, class Saved, class... Ps>
const auto& decoder_back(const char* where, const Parameters& p, const transformer_layer_options& o,
                         Saved& saved, const G& dY, Parameters& gradients, const Ps&... ps) {
  check_way_back(where, p, saved, dY, gradients);
  saved.dY = dY;
  saved.dmemory.setZero(saved.memory.rows(), saved.memory.cols());
  const layer_call call = layer_call_of(where, ps...);
  with_decoder_attentions<T>(
      where,
      [&](const inner_attention<T>& self, const inner_attention<T>& cross) {
        go_back<T>(
            p, o, call,
            decoder_attentions<T>{self, cross, view_of(saved.memory), writable_view(saved.dmemory)},
            saved, gradients);
      },
      ps...);
  return saved.dX;
}

}  // namespace detail

/// An encoder layer, X: n×features -> saved.Y().
/// \see transformer_encoder_layer, which computes the same
/// \param policies  those of the layer: a mask, transforms, segments or a padded batch, an
///        executor, options.
/// \throws shape_error, argument_error  unless weights, options, X and policies fit; nothing has
///         been written then.
template <class T, dense_expression X, class... Ps>
const auto& transformer_encoder_layer_forward(const transformer_encoder_layer_parameters<T>& p,
                                              const transformer_layer_options& o, const X& x,
                                              saved_transformer_encoder_layer<T>& saved,
                                              const Ps&... policies) {
  return detail::encoder_ahead<T>("transformer_encoder_layer_forward", p, o, x, saved, policies...);
}
/// dX, and gradients of all weights.
/// \throws shape_error  unless dY has the output's shape and gradients that of the weights.
template <class T, dense_expression G, class... Ps>
const auto& transformer_encoder_layer_backward(const transformer_encoder_layer_parameters<T>& p,
                                               const transformer_layer_options& o,
                                               saved_transformer_encoder_layer<T>& saved,
                                               const G& dY,
                                               transformer_encoder_layer_parameters<T>& gradients,
                                               const Ps&... policies) {
  return detail::encoder_back<T>("transformer_encoder_layer_backward", p, o, saved, dY, gradients,
                                 policies...);
}

/// A stack of encoder layers. The norm at the end, where there is one, is of the kind that the
/// options say.
/// \throws  as for a layer; argument_error without layers.
template <class T, dense_expression X, class... Ps>
const auto& transformer_encoder_forward(const transformer_encoder_parameters<T>& p,
                                        const transformer_layer_options& o, const X& x,
                                        saved_transformer_encoder<T>& saved,
                                        const Ps&... policies) {
  return detail::encoder_ahead<T>("transformer_encoder_forward", p, o, x, saved, policies...);
}
/// dX, and gradients of all weights.
template <class T, dense_expression G, class... Ps>
const auto& transformer_encoder_backward(const transformer_encoder_parameters<T>& p,
                                         const transformer_layer_options& o,
                                         saved_transformer_encoder<T>& saved, const G& dY,
                                         transformer_encoder_parameters<T>& gradients,
                                         const Ps&... policies) {
  return detail::encoder_back<T>("transformer_encoder_backward", p, o, saved, dY, gradients,
                                 policies...);
}

/// What causal_transformer computes of all rows at once: a stack whose rows see none behind them.
/// \param policies  as for a stack; a mask is joined to the causal one.
template <class T, dense_expression X, class... Ps>
const auto& causal_transformer_forward(const transformer_encoder_parameters<T>& p,
                                       const transformer_layer_options& o, const X& x,
                                       saved_transformer_encoder<T>& saved, const Ps&... policies) {
  detail::with_mask(
      masks::causal_top_left{},
      [&](const auto&... with) {
        detail::encoder_ahead<T>("causal_transformer_forward", p, o, x, saved, with...);
      },
      policies...);
  return saved.Y();
}
template <class T, dense_expression G, class... Ps>
const auto& causal_transformer_backward(const transformer_encoder_parameters<T>& p,
                                        const transformer_layer_options& o,
                                        saved_transformer_encoder<T>& saved, const G& dY,
                                        transformer_encoder_parameters<T>& gradients,
                                        const Ps&... policies) {
  detail::with_mask(
      masks::causal_top_left{},
      [&](const auto&... with) {
        detail::encoder_back<T>("causal_transformer_backward", p, o, saved, dY, gradients, with...);
      },
      policies...);
  return saved.dX;
}

/// A decoder layer, X: n×features, memory: m×memory features -> saved.Y().
/// \see transformer_decoder_layer, which computes the same
/// \param policies  for_target(mask, transforms, segments or a padded batch), for_memory(…), an
///        executor, options.
template <class T, dense_expression X, dense_expression M, class... Ps>
const auto& transformer_decoder_layer_forward(const transformer_decoder_layer_parameters<T>& p,
                                              const transformer_layer_options& o, const X& x,
                                              const M& memory,
                                              saved_transformer_decoder_layer<T>& saved,
                                              const Ps&... policies) {
  return detail::decoder_ahead<T>("transformer_decoder_layer_forward", p, o, x, memory, saved,
                                  policies...);
}
/// dX, saved.dmemory, and gradients of all weights.
template <class T, dense_expression G, class... Ps>
const auto& transformer_decoder_layer_backward(const transformer_decoder_layer_parameters<T>& p,
                                               const transformer_layer_options& o,
                                               saved_transformer_decoder_layer<T>& saved,
                                               const G& dY,
                                               transformer_decoder_layer_parameters<T>& gradients,
                                               const Ps&... policies) {
  return detail::decoder_back<T>("transformer_decoder_layer_backward", p, o, saved, dY, gradients,
                                 policies...);
}

/// A stack of decoder layers, which see one memory.
template <class T, dense_expression X, dense_expression M, class... Ps>
const auto& transformer_decoder_forward(const transformer_decoder_parameters<T>& p,
                                        const transformer_layer_options& o, const X& x,
                                        const M& memory, saved_transformer_decoder<T>& saved,
                                        const Ps&... policies) {
  return detail::decoder_ahead<T>("transformer_decoder_forward", p, o, x, memory, saved,
                                  policies...);
}
/// dX, saved.dmemory, and gradients of all weights.
template <class T, dense_expression G, class... Ps>
const auto& transformer_decoder_backward(const transformer_decoder_parameters<T>& p,
                                         const transformer_layer_options& o,
                                         saved_transformer_decoder<T>& saved, const G& dY,
                                         transformer_decoder_parameters<T>& gradients,
                                         const Ps&... policies) {
  return detail::decoder_back<T>("transformer_decoder_backward", p, o, saved, dY, gradients,
                                 policies...);
}

/// \}

SOFTLOOK_NAMESPACE_END
