#pragma once

#include "softlook/layer/detail/attention_block.hpp"

// What a Transformer's decoder is given.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Rows of the target and of the memory. Where the memory is kept, its rows are not given again.
template <class T>
struct decoder_rows {
  matrix_view<T> X;
  matrix_view<T> memory;
  const kept_keys<T>* kept_target = nullptr;
  const kept_keys<T>* kept_memory = nullptr;
  index first_query = 0;  // position of the first row of X in the sentence
};

/// `Decoder` is a layer or a stack.
template <class Decoder>
void check_memory(const char* where, const Decoder& of, index columns) {
  check_sizes(where, "memory.cols()", columns, "memory_features()", of.memory_features(),
              "a row of the memory has an entry for each row of the weight");
}
template <class T, class Decoder>
void check_decoder_inputs(const char* where, const Decoder& of, const decoder_rows<T>& in) {
  check_features(where, of, in.X);
  check_memory(where, of, in.memory.cols);
}
template <class T, class Decoder>
void check_decoder_output(const char* where, const Decoder& of, const decoder_rows<T>& in,
                          const mutable_matrix_view<T>& Y) {
  check_layer_output(where, Y, in.X.rows, "features()", of.features());
  check_in_place(where, Y, in.X);
  check_overlap(where, "memory", Y, in.memory, "Y");
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
