#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "examples/characters/model.hpp"
#include "examples/characters/text.hpp"
#include "examples/training/optimiser.hpp"

namespace characters {

using weights = parameters<float>;

/// A training: what it changes, how far it is, and memory that its steps use again.
class training {
 public:
  training(const sizes& s, examples::generator& random);

  /// Forward, back, gradients clipped to length 1, AdamW.
  /// \return  the loss of the batch, in nats for each character, before the weights change.
  double step(const batch& b, double rate);
  /// The mean loss over what is held out.
  double held_out_loss(const corpus& c);

  [[nodiscard]] const weights& now() const { return weights_; }
  weights& now() { return weights_; }
  examples::adamw<weights>& optimiser() { return optimiser_; }

 private:
  double forward(const batch& b, softlook::token_embedding_parameters<float>::matrix* dlogits);

  index heads_;
  weights weights_;
  examples::adamw<weights> optimiser_;
  weights gradients_;
  saved<float> saved_;
  softlook::token_embedding_parameters<float>::matrix dlogits_;
  softlook::workspace workspace_;
};

/// Writes `count` characters behind the beginning, each drawn from softmax(logits / temperature).
/// They come one by one through a cache of keys; none looks back further than `length`, as in
/// training.
std::string written(const weights& p, index heads, const corpus& c, std::string_view beginning,
                    int count, index length, double temperature, examples::generator& random);

}  // namespace characters
