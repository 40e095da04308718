#pragma once

#include "softlook/transformer_decoder.hpp"
#include "softlook/transformer_encoder.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup transformer The Transformer
/// Encoder and decoder layers, their stacks, and decoding row by row on a cache.
/// \cases tests/conformance/data/torch/transformer
/// \program examples/minilm/encoder.cpp
/// \{

/// An encoder and a decoder that looks at what it made:
///   memory = encoder(source);  y = decoder(target, memory)
///
/// \see Vaswani et al., "Attention Is All You Need", 2017, Figure 1, without embeddings and the
///      projection to a vocabulary.
/// Computes what torch.nn.Transformer does, whose stacks have a norm at the end. To decode row by
/// row: decoder().start(encoder()(source)), then decoder().step().
template <class T>
class transformer {
 public:
  using scalar = T;

  /// \throws shape_error  unless the decoder's memory has the encoder's features.
  transformer(transformer_encoder<T> encoder, transformer_decoder<T> decoder)
      : encoder_(std::move(encoder)), decoder_(std::move(decoder)) {
    detail::check_sizes(name_, "decoder.memory_features()", decoder_.memory_features(),
                        "encoder.features()", encoder_.features(),
                        "the decoder looks at what the encoder makes");
  }

  [[nodiscard]] const transformer_encoder<T>& encoder() const { return encoder_; }
  [[nodiscard]] const transformer_decoder<T>& decoder() const { return decoder_; }

  /// Source: m×encoder features, target: n×decoder features -> n×decoder features, in the target's
  /// storage order.
  /// \param policies  for_source(mask, transforms), for_target(…), for_memory(…), an executor,
  ///        options. Nothing is masked by itself.
  template <dense_expression S, dense_expression X, class... Ps>
  [[nodiscard]] auto operator()(const S& source, const X& target, const Ps&... policies) const {
    plain_matrix_like<X> y(target.rows(), target.cols());
    into(source, target, y, policies...);
    return y;
  }
  /// Into the caller's matrix, block or map, which is never resized; it may be the target itself.
  /// With options{.workspace} a call allocates nothing.
  /// \throws argument_error  if Y overlaps the target otherwise, or the source.
  template <dense_expression S, dense_expression X, dense_expression Y, class... Ps>
  void into(const S& source, const X& target, Y&& y, const Ps&... policies) const {
    if constexpr (check_types<S, X, Y, Ps...>()) {
      const detail::readable<S> from(source);
      const detail::readable<X> in(target);
      const mutable_matrix_view<T> out = detail::writable_view(y);
      detail::check_sizes(name_, "source.cols()", source.cols(), "encoder().features()",
                          encoder_.features(), "a row of the source has an entry for each feature");
      detail::check_overlap(name_, "source", out, from.view(), "Y");
      const auto for_encoder = detail::sorted_for<T, (detail::is_options<Ps> || ...)>(
          detail::layer_call_of(name_, policies...),
          detail::placed<detail::source_attention>(policies...));
      detail::with_decoder_calls<T>(
          name_,
          [&](const auto& calls) {
            detail::run_layer<T>(
                calls.target,
                [&](const auto& exec) {
                  return detail::matrix_cursor<T>::size(source.rows(), encoder_.features()) +
                         std::max(encoder_.scratch_size(source.rows(), exec),
                                  decoder_.scratch_size(target.rows(), source.rows(), exec));
                },
                [&](const auto& scratch) {
                  detail::matrix_cursor<T> cursor(scratch.start);
                  const auto made = cursor.take(source.rows(), encoder_.features());
                  const detail::decoder_rows<T> rows{in.view(), detail::as_input(made)};
                  detail::check_decoder_call(name_, decoder_, rows, out);
                  const detail::scratch_space<T> rest{cursor.rest(), scratch.inner};
                  encoder_.run(from.view(), made, rest, *for_encoder);
                  decoder_.run(rows, out, rest, calls);
                });
          },
          policies...);
    }
  }

 private:
  static constexpr const char* name_ = "transformer";

  template <class S, class X, class Y, class... Ps>
  static constexpr bool check_types() {
    if constexpr (detail::check_layer_scalars<T, S, X, Y>())
      return detail::transformer_policies::template check<T, Ps...>();
    else
      return false;
  }

  transformer_encoder<T> encoder_;
  transformer_decoder<T> decoder_;
};

/// \}

SOFTLOOK_NAMESPACE_END
