#pragma once

#include <vector>

#include "softlook/gradient/detail/transformer_parts.hpp"
#include "softlook/gradient/norm.hpp"
#include "softlook/transformer/decoder.hpp"
#include "softlook/transformer/encoder.hpp"

// Layers of a Transformer and their stacks on their way forward and back. They are compiled once
// for a scalar type, whatever the policies of their attentions are.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template <class T>
struct kept_encoder_layer {
  kept_attention_part<T> self;
  kept_feed_forward_part<T> feed_forward;

  [[nodiscard]] const row_major<T>& output() const { return feed_forward.around.output; }
  [[nodiscard]] std::size_t bytes() const { return self.bytes() + feed_forward.bytes(); }
};
template <class T>
struct kept_decoder_layer {
  kept_attention_part<T> self;
  kept_attention_part<T> cross;
  kept_feed_forward_part<T> feed_forward;

  [[nodiscard]] const row_major<T>& output() const { return feed_forward.around.output; }
  [[nodiscard]] std::size_t bytes() const {
    return self.bytes() + cross.bytes() + feed_forward.bytes();
  }
};

/// What the attentions of a layer look at besides its own rows, and what they are told.
template <class T>
struct encoder_rows {
  const inner_attention<T>& self;
};
template <class T>
struct decoder_attentions {
  const inner_attention<T>& self;
  const inner_attention<T>& cross;
  matrix_view<T> memory;
  mutable_matrix_view<T> dmemory;  // on the way back: is added to
};

template <class T>
using encoder_weights = transformer_encoder_layer_parameters<T>;
template <class T>
using decoder_weights = transformer_decoder_layer_parameters<T>;

template <class T, class Parameters>
void check_layer(const char* where, const Parameters& p, const transformer_layer_options& o,
                 const matrix_view<T>& X, const inner_attention<T>& self) {
  check_attention_part<T>(where, p.self_attention, o.heads, {X, X, X}, self);
  const index features = p.self_attention.Wq.rows();
  check_features_of(where, p.self_attention, features);
  check_epsilon<T>(where, o.epsilon);
  check_feed_forward(where, p, "Wq.rows()", features);
  using row = typename Parameters::row;
  norm_parameters<row>{"gain1.size()", p.gain1, "bias1.size()", p.bias1}.check(where, features);
  norm_parameters<row>{"gain2.size()", p.gain2, "bias2.size()", p.bias2}.check(where, features);
}
/// \throws shape_error, argument_error  unless weights, inputs and policies fit.
template <class T>
void check_rows_of(const char* where, const encoder_weights<T>& p,
                   const transformer_layer_options& o, const matrix_view<T>& X,
                   const encoder_rows<T>& in) {
  check_layer<T>(where, p, o, X, in.self);
}
template <class T>
void check_rows_of(const char* where, const decoder_weights<T>& p,
                   const transformer_layer_options& o, const matrix_view<T>& X,
                   const decoder_attentions<T>& in) {
  check_layer<T>(where, p, o, X, in.self);
  check_attention_part<T>(where, p.cross_attention, o.heads, {X, in.memory, in.memory}, in.cross);
  check_sizes(where, "cross_attention.Wo.cols()", p.cross_attention.Wo.cols(), "Wq.rows()", X.cols,
              one_size_of_layer);
  using row = typename decoder_weights<T>::row;
  norm_parameters<row>{"gain3.size()", p.gain3, "bias3.size()", p.bias3}.check(where, X.cols);
}

template <class T>
void run_layer_forward(const layer_run<T>& run, const encoder_weights<T>& p,
                       const encoder_rows<T>& in, const matrix_view<T>& X,
                       kept_encoder_layer<T>& kept) {
  attention_part_forward<T>(run, p.self_attention, p.gain1, p.bias1, in.self, X, nullptr,
                            kept.self);
  feed_part_forward<T>(run, p, p.gain2, p.bias2, view_of(kept.self.around.output),
                       kept.feed_forward);
}
template <class T>
void run_layer_forward(const layer_run<T>& run, const decoder_weights<T>& p,
                       const decoder_attentions<T>& in, const matrix_view<T>& X,
                       kept_decoder_layer<T>& kept) {
  attention_part_forward<T>(run, p.self_attention, p.gain1, p.bias1, in.self, X, nullptr,
                            kept.self);
  attention_part_forward<T>(run, p.cross_attention, p.gain2, p.bias2, in.cross,
                            view_of(kept.self.around.output), &in.memory, kept.cross);
  feed_part_forward<T>(run, p, p.gain3, p.bias3, view_of(kept.cross.around.output),
                       kept.feed_forward);
}

/// \return dX
template <class T>
const row_major<T>& run_layer_backward(const layer_run<T>& run, const encoder_weights<T>& p,
                                       const encoder_rows<T>& in, kept_encoder_layer<T>& kept,
                                       const matrix_view<T>& dY, encoder_weights<T>& to) {
  const row_major<T>& dx = feed_part_backward<T>(run, p, p.gain2, p.bias2, kept.feed_forward, dY,
                                                 to, to.gain2, to.bias2);
  return attention_part_backward<T>(run, p.self_attention, p.gain1, p.bias1, in.self, nullptr,
                                    kept.self, view_of(dx), to.self_attention, to.gain1, to.bias1,
                                    nullptr);
}
template <class T>
const row_major<T>& run_layer_backward(const layer_run<T>& run, const decoder_weights<T>& p,
                                       const decoder_attentions<T>& in, kept_decoder_layer<T>& kept,
                                       const matrix_view<T>& dY, decoder_weights<T>& to) {
  const row_major<T>& fed = feed_part_backward<T>(run, p, p.gain3, p.bias3, kept.feed_forward, dY,
                                                  to, to.gain3, to.bias3);
  const row_major<T>& looked = attention_part_backward<T>(
      run, p.cross_attention, p.gain2, p.bias2, in.cross, &in.memory, kept.cross, view_of(fed),
      to.cross_attention, to.gain2, to.bias2, &in.dmemory);
  return attention_part_backward<T>(run, p.self_attention, p.gain1, p.bias1, in.self, nullptr,
                                    kept.self, view_of(looked), to.self_attention, to.gain1,
                                    to.bias1, nullptr);
}

/// Layers one after another, and the norm behind them.
template <class T, class Layer>
struct kept_stack {
  std::vector<Layer> layers;
  bool has_norm = false;
  kept_norm<T> norm;
  row_major<T> normed;  // the output where there is a norm
  row_major<T> dnormed;

  [[nodiscard]] const row_major<T>& output() const {
    return has_norm ? normed : layers.back().output();
  }
  [[nodiscard]] std::size_t bytes() const {
    std::size_t all = norm.bytes() + bytes_of(normed) + bytes_of(dnormed);
    for (const Layer& l : layers) all += l.bytes();
    return all;
  }
};

template <class T, class Parameters, class Inputs>
void check_stack(const char* where, const Parameters& p, const transformer_layer_options& o,
                 const matrix_view<T>& X, const Inputs& in) {
  if (p.layers.empty()) raise_argument(where, "layers.size()", 0, "a stack has at least one layer");
  for (const auto& layer : p.layers) check_rows_of<T>(where, layer, o, X, in);
  if (p.final_norm.gain.size() > 0 || p.final_norm.bias.size() > 0)
    (void)norm_rule_of<T>(where, p.final_norm.gain, p.final_norm.bias, X.cols, {o.norm, o.epsilon});
}

template <class T, class Parameters, class Inputs, class Kept>
void run_stack_forward(const layer_run<T>& run, const Parameters& p, const Inputs& in,
                       const matrix_view<T>& X, Kept& kept) {
  kept.layers.resize(p.layers.size());
  matrix_view<T> from = X;
  for (std::size_t k = 0; k < p.layers.size(); ++k) {
    run_layer_forward<T>(run, p.layers[k], in, from, kept.layers[k]);
    from = view_of(kept.layers[k].output());
  }
  kept.has_norm = p.final_norm.gain.size() > 0;
  if (!kept.has_norm) return;
  shape_as(kept.normed, X.rows, X.cols);
  norm_rows<T>(run.products.call().exec,
               norm_of_layer<T>(run.options, p.final_norm.gain, p.final_norm.bias), from, kept.norm,
               writable_view(kept.normed));
}
template <class T, class Parameters, class Inputs, class Kept>
const row_major<T>& run_stack_backward(const layer_run<T>& run, const Parameters& p,
                                       const Inputs& in, Kept& kept, const row_major<T>& dY,
                                       Parameters& gradients) {
  const row_major<T>* dX = &dY;
  if (kept.has_norm) {
    shape_as(kept.dnormed, dY.rows(), dY.cols());
    norm_rows_back<T>(run.products.call().exec,
                      norm_of_layer<T>(run.options, p.final_norm.gain, p.final_norm.bias),
                      kept.norm, view_of(dY),
                      {writable_view(gradients.final_norm.gain),
                       writable_view(gradients.final_norm.bias), writable_view(kept.dnormed)});
    dX = &kept.dnormed;
  }
  for (std::size_t k = p.layers.size(); k-- > 0;)
    dX = &run_layer_backward<T>(run, p.layers[k], in, kept.layers[k], view_of(*dX),
                                gradients.layers[k]);
  return *dX;
}

/// f(attention) of what is told of one place, the executor and the options.
template <class T, class Place, class F, class... Ps>
decltype(auto) with_inner_at(const char* where, const F& f, const Ps&... ps) {
  const auto own = policies_for<Place>(ps...);
  return std::apply(
      [&](const auto&... mine) -> decltype(auto) {
        return with_plain_policies(
            [&](const auto&... plain) -> decltype(auto) {
              return f(inner_attention_of<T, std::remove_cvref_t<decltype(mine)>...,
                                          std::remove_cvref_t<decltype(plain)>...>(where, mine...,
                                                                                   plain...));
            },
            ps...);
      },
      own);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
