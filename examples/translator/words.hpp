#pragma once

#include <span>
#include <string>
#include <vector>

#include "marian_file.hpp"
#include "sentencepiece.hpp"

namespace translator {

/// Pieces that make a word; the end of a sentence is the word "<end>".
struct word {
  std::string text;
  Eigen::Index first = 0;  ///< its first piece
  Eigen::Index pieces = 0;
};

/// A piece with "▁" begins a word; a mark like "." or "," at its end is a word of its own.
/// \throws std::out_of_range  for an id that is not in the vocabulary.
std::vector<word> words_of(const sentencepiece& vocabulary, std::span<const int> ids, int end);

std::vector<std::string> texts_of(const std::vector<word>& words);

/// What words look at, of what their pieces look at (read × written pieces): a word is looked at as
/// much as all its pieces, and looks where its pieces look in the mean.
///
/// \see Clark et al., "What Does BERT Look At?", 2019, section 4.1.
/// \throws std::invalid_argument  unless the words are made of so many pieces.
float_matrix weights_of_words(const float_matrix& weights, const std::vector<word>& written,
                              const std::vector<word>& read);

}  // namespace translator
