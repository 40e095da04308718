#include "words.hpp"

#include <stdexcept>

namespace translator {
namespace {

bool is_mark(std::string_view piece) {
  return piece.find_first_not_of(".,;:!?") == piece.npos && !piece.empty();
}

void check_pieces(const std::vector<word>& words, Eigen::Index count, const char* of) {
  const Eigen::Index pieces = words.empty() ? 0 : words.back().first + words.back().pieces;
  if (pieces != count)
    throw std::invalid_argument("weights_of_words: the words have " + std::to_string(pieces) +
                                " pieces but the weights have " + std::to_string(count) + ' ' + of);
}

}  // namespace

std::vector<word> words_of(const sentencepiece& vocabulary, std::span<const int> ids, int end) {
  std::vector<word> words;
  const auto begins_word = [&](std::size_t k) {
    return ids[k] == end || vocabulary.piece(ids[k]).starts_with(sentencepiece::blank);
  };
  for (std::size_t k = 0; k < ids.size(); ++k) {
    const std::string& piece = vocabulary.piece(ids[k]);
    const bool last = k + 1 == ids.size() || begins_word(k + 1);
    if (words.empty() || begins_word(k) || (last && is_mark(piece)))
      words.push_back({"", static_cast<Eigen::Index>(k), 0});
    word& w = words.back();
    w.text += ids[k] == end                             ? "<end>"
              : piece.starts_with(sentencepiece::blank) ? piece.substr(sentencepiece::blank.size())
                                                        : piece;
    ++w.pieces;
  }
  return words;
}

std::vector<std::string> texts_of(const std::vector<word>& words) {
  std::vector<std::string> texts;
  for (const word& w : words) texts.push_back(w.text);
  return texts;
}

float_matrix weights_of_words(const float_matrix& weights, const std::vector<word>& written,
                              const std::vector<word>& read) {
  check_pieces(written, weights.rows(), "rows");
  check_pieces(read, weights.cols(), "columns");
  const auto count = [](const std::vector<word>& w) { return static_cast<Eigen::Index>(w.size()); };
  float_matrix out(count(written), count(read));
  for (Eigen::Index i = 0; i < out.rows(); ++i)
    for (Eigen::Index j = 0; j < out.cols(); ++j) {
      const word &from = written[std::size_t(i)], &to = read[std::size_t(j)];
      out(i, j) = weights.block(from.first, to.first, from.pieces, to.pieces).sum() /
                  static_cast<float>(from.pieces);
    }
  return out;
}

}  // namespace translator
