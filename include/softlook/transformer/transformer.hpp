#pragma once

#include "softlook/transformer/decoder.hpp"
#include "softlook/transformer/encoder.hpp"

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
class transformer : public detail::layer_defaults<transformer<T>, T> {
 public:
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
    using entry = detail::layer_entry;
    if constexpr (entry::accepts<transformer, Ps...>(detail::matrices<S, X, Y>{}))
      entry::into(*this,
                  inputs{detail::readable<S>(source).view(), detail::readable<X>(target).view()},
                  detail::writable_view(y), policies...);
  }

 private:
  friend detail::layer_entry;
  using policy_rule = detail::transformer_policies;
  static constexpr const char* name_ = "transformer";

  struct inputs {
    matrix_view<T> source;
    matrix_view<T> target;
  };
  /// The decoder's rows, once its memory is at this place.
  [[nodiscard]] detail::decoder_rows<T> rows_of(const inputs& in, const T* memory) const {
    const index features = encoder_.features();
    return {in.target, {memory, in.source.rows, features, features, 1}};
  }

  void check(const inputs& in) const {
    detail::check_sizes(name_, "source.cols()", in.source.cols, "encoder().features()",
                        encoder_.features(), "a row of the source has an entry for each feature");
    detail::check_features(name_, decoder_, in.target);
  }
  void check_output(const inputs& in, const mutable_matrix_view<T>& Y) const {
    detail::check_overlap(name_, "source", Y, in.source, "Y");
    detail::check_layer_output(name_, Y, in.target.rows, "features()", decoder_.features());
    detail::check_in_place(name_, Y, in.target);
  }
  [[nodiscard]] index scratch_size(const inputs& in,
                                   const detail::transformer_calls<T>& calls) const {
    return detail::matrix_cursor<T>::size(in.source.rows, encoder_.features()) +
           std::max(encoder_.scratch_size(in.source, calls.source),
                    decoder_.scratch_size(rows_of(in, nullptr), calls.decoder));
  }
  void run(const inputs& in, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>& scratch,
           const detail::transformer_calls<T>& calls) const {
    detail::matrix_cursor<T> cursor(scratch);
    const auto memory = cursor.take(in.source.rows, encoder_.features());
    encoder_.run(in.source, memory, cursor.left(), calls.source);
    decoder_.run(rows_of(in, memory.data), Y, cursor.left(), calls.decoder);
  }

  transformer_encoder<T> encoder_;
  transformer_decoder<T> decoder_;
};

/// \}

SOFTLOOK_NAMESPACE_END
