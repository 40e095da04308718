#pragma once

#include <softlook/gradient/transformer.hpp>

#include "layers.hpp"

/// Gradients of layers over batches, by the way back of the library, in double.
namespace conformance {

/// Of Σ dY ∘ output; those of weights are summed over the batches.
struct multi_head_gradients {
  grid Q{}, K{}, V{};  // of self-attention Q alone
  softlook::multi_head_parameters<double> weights{};
};
struct encoder_gradients {
  grid X{};
  softlook::transformer_encoder_parameters<double> weights{};
};
struct decoder_gradients {
  grid X{}, memory{};
  softlook::transformer_decoder_parameters<double> weights{};
};

/// `self`: queries, keys and values are one input.
multi_head_gradients gradients_of(const mode& m, const multi_head_call& call, bool self,
                                  const grid& dY);
encoder_gradients gradients_of(const mode& m, const encoder_call& call, const grid& dY);
decoder_gradients gradients_of(const mode& m, const decoder_call& call, const grid& dY);

}  // namespace conformance
