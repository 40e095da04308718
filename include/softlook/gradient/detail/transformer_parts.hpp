#pragma once

#include "softlook/gradient/detail/attention_part.hpp"
#include "softlook/gradient/detail/feed_forward.hpp"
#include "softlook/gradient/detail/norm_rows.hpp"
#include "softlook/layer/detail/feed_forward.hpp"
#include "softlook/transformer/policies.hpp"

// The parts of a Transformer's layer on their way forward and back.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// A norm and a residual connection around a part f of a layer: see residual_part.
template <class T>
struct kept_residual {
  kept_norm<T> norm;
  row_major<T> input;   // of f: pre-norm the norm's output, post-norm the part's input
  row_major<T> output;  // of the part
  row_major<T> dsum, dinput;

  [[nodiscard]] std::size_t bytes() const {
    return norm.bytes() + bytes_of(input) + bytes_of(output) + bytes_of(dsum) + bytes_of(dinput);
  }
};

/// f(X, Y): Y = f(X).
template <class T, class F>
void residual_rows(const executor_ref& exec, bool norm_first, const norm_rule<T>& norm,
                   const matrix_view<T>& X, kept_residual<T>& kept, const F& f) {
  shape_as(kept.input, X.rows, X.cols);
  shape_as(kept.output, X.rows, X.cols);
  const auto input = writable_view(kept.input), output = writable_view(kept.output);
  if (norm_first)
    norm_rows(exec, norm, X, kept.norm, input);
  else
    copy_rows(X, input);
  f(as_input(input), output);
  add_rows_to(X, output);
  if (!norm_first) norm_rows(exec, norm, as_input(output), kept.norm, output);
}

/// f(X, dY, dX): dX += the gradient of f's input X. \return the gradient of the part's input, in
/// kept.dinput.
template <class T, class F>
const row_major<T>& residual_rows_back(const executor_ref& exec, bool norm_first,
                                       const norm_rule<T>& norm, kept_residual<T>& kept,
                                       const matrix_view<T>& dY,
                                       const mutable_matrix_view<T>& dgain,
                                       const mutable_matrix_view<T>& dbias, const F& f) {
  kept.dinput.setZero(dY.rows, dY.cols);
  const auto dX = writable_view(kept.dinput);
  if (norm_first) {
    f(view_of(kept.input), dY, dX);
    norm_rows_back(exec, norm, kept.norm, as_input(dX), {dgain, dbias, dX});
    add_rows_to(dY, dX);
  } else {
    shape_as(kept.dsum, dY.rows, dY.cols);
    const auto dsum = writable_view(kept.dsum);
    norm_rows_back(exec, norm, kept.norm, dY, {dgain, dbias, dsum});
    f(view_of(kept.input), as_input(dsum), dX);
    kept.dinput += kept.dsum;
  }
  return kept.dinput;
}

template <class T>
struct kept_attention_part {
  kept_residual<T> around;
  kept_attention<T> heads;
  [[nodiscard]] std::size_t bytes() const { return around.bytes() + heads.bytes(); }
};
template <class T>
struct kept_feed_forward_part {
  kept_residual<T> around;
  kept_feed_forward<T> rows;
  [[nodiscard]] std::size_t bytes() const { return around.bytes() + rows.bytes(); }
};

/// The gain and the bias of one norm of a layer, and their gradients.
template <class T, class Row>
[[nodiscard]] norm_rule<T> norm_of_layer(const transformer_layer_options& o, const Row& gain,
                                         const Row& bias) {
  return {view_of(gain), view_of(bias), T(o.epsilon), o.norm == norm_kind::layer};
}

/// A call of a layer or of a stack.
template <class T>
struct layer_run {
  matrix_products<T>& products;
  const transformer_layer_options& options;
};

/// An attention with its norm; `memory` are its keys, or none: they are its own queries.
template <class T, class Row>
void attention_part_forward(const layer_run<T>& run, const multi_head_parameters<T>& p,
                            const Row& gain, const Row& bias, const inner_attention<T>& inner,
                            const matrix_view<T>& X, const matrix_view<T>* memory,
                            kept_attention_part<T>& kept) {
  const transformer_layer_options& o = run.options;
  residual_rows<T>(run.products.call().exec, o.norm_first, norm_of_layer<T>(o, gain, bias), X,
                   kept.around, [&](const matrix_view<T>& from, const mutable_matrix_view<T>& to) {
                     const matrix_view<T>& keys = memory ? *memory : from;
                     attend_rows<T>(run.products, p, o.heads, {from, keys, keys}, inner, kept.heads,
                                    to);
                   });
}
template <class T, class Row>
const row_major<T>& attention_part_backward(const layer_run<T>& run,
                                            const multi_head_parameters<T>& p, const Row& gain,
                                            const Row& bias, const inner_attention<T>& inner,
                                            const matrix_view<T>* memory,
                                            kept_attention_part<T>& kept, const matrix_view<T>& dY,
                                            multi_head_parameters<T>& gradients, Row& dgain,
                                            Row& dbias, const mutable_matrix_view<T>* dmemory) {
  const transformer_layer_options& o = run.options;
  return residual_rows_back<T>(
      run.products.call().exec, o.norm_first, norm_of_layer<T>(o, gain, bias), kept.around, dY,
      writable_view(dgain), writable_view(dbias),
      [&](const matrix_view<T>& from, const matrix_view<T>& dO, const mutable_matrix_view<T>& dX) {
        const matrix_view<T>& keys = memory ? *memory : from;
        const mutable_matrix_view<T>& dkeys = dmemory ? *dmemory : dX;
        attend_rows_back<T>(run.products, p, o.heads, {from, keys, keys}, inner, kept.heads, dO,
                            gradients, {dX, dkeys, dkeys});
      });
}

/// The feed-forward of a layer with its norm.
template <class T, class Parameters, class Row>
void feed_part_forward(const layer_run<T>& run, const Parameters& p, const Row& gain,
                       const Row& bias, const matrix_view<T>& X, kept_feed_forward_part<T>& kept) {
  const transformer_layer_options& o = run.options;
  residual_rows<T>(run.products.call().exec, o.norm_first, norm_of_layer<T>(o, gain, bias), X,
                   kept.around, [&](const matrix_view<T>& from, const mutable_matrix_view<T>& to) {
                     feed_rows(run.products, o.activation, feed_forward_of(p), from, kept.rows, to);
                   });
}
template <class T, class Parameters, class Row>
const row_major<T>& feed_part_backward(const layer_run<T>& run, const Parameters& p,
                                       const Row& gain, const Row& bias,
                                       kept_feed_forward_part<T>& kept, const matrix_view<T>& dY,
                                       Parameters& gradients, Row& dgain, Row& dbias) {
  const transformer_layer_options& o = run.options;
  return residual_rows_back<T>(
      run.products.call().exec, o.norm_first, norm_of_layer<T>(o, gain, bias), kept.around, dY,
      writable_view(dgain), writable_view(dbias),
      [&](const matrix_view<T>& from, const matrix_view<T>& dO, const mutable_matrix_view<T>& dX) {
        feed_rows_back(run.products, o.activation, feed_forward_of(p), from, kept.rows, dO,
                       feed_forward_gradients_of(gradients), dX);
      });
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
