#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <softlook/gradient/bahdanau.hpp>
#include <softlook/seq2seq.hpp>

#include "examples/training/random.hpp"

// From a date as it was written to a date as ISO 8601 writes it, character by character, by the
// model of Bahdanau et al., 2015: a bidirectional GRU reads, a GRU writes and looks back.

namespace dates {

using softlook::index;
using weights = softlook::bahdanau_parameters<float>;
using model = softlook::bahdanau_model<float>;

/// Characters that are known, as tokens; capitals are small letters.
/// \throws std::invalid_argument  for a text that is empty or has a character that is unknown.
std::vector<index> tokens_of(std::string_view text);

/// A translation has ten characters, digits and '-'; the decoder is fed `begin` before the first.
inline constexpr index written_characters = 10;
inline constexpr index begin = 11;
index token_of(char written);

struct sizes {
  index embedding = 16;
  index encoder = 48;  ///< units in each direction
  index decoder = 64;
  index attention = 48;
  index maxout = 32;
};
/// Weights before training.
weights first_weights(const sizes& s, examples::generator& random);

/// Some dates of one length, as softlook::bahdanau_forward() takes them.
struct batch {
  index sentences = 0;
  std::vector<index> source, fed;
  std::vector<std::int32_t> wanted;
};
/// Dates that are not unseen: the first one is any, in any form; the others are as long.
batch draw_batch(index sentences, examples::generator& random);

struct translation {
  std::string text;
  Eigen::MatrixXf looked;  ///< written characters × characters of the source
};
/// Greedily: of each step the most probable character.
translation translate(const model& m, std::string_view source);

/// What each character looks at while the right translation is written, whatever the model thinks
/// of it: so pictures of different times of a training show the same.
Eigen::MatrixXf alignment(const model& m, std::string_view source, std::string_view right);

/// How many of some unseen dates, each in some form, are translated without a mistake.
struct examination {
  int right = 0, asked = 0;
  std::vector<std::string> mistakes;  ///< "05/03/79 -> 1979-05-08, not 1979-05-03"
};
examination examine(const model& m, int count, std::uint64_t seed);

}  // namespace dates
