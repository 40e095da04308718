#include "examples/translator/words.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

namespace words_test {
namespace {

using translator::float_matrix;
using translator::sentencepiece;
using translator::word;
using texts = std::vector<std::string>;

std::string field(char tag, const std::string& bytes) {
  return tag + std::string(1, static_cast<char>(bytes.size())) + bytes;
}

/// Piece 0 is </s>, piece 1 is unknown, the others as they are given.
sentencepiece vocabulary(const texts& pieces) {
  std::string file = field('\x0A', field('\x0A', "</s>") + "\x18\x03") +
                     field('\x0A', field('\x0A', "<unk>") + "\x18\x02");
  for (const std::string& piece : pieces) file += field('\x0A', field('\x0A', piece));
  return {std::as_bytes(std::span(file)), "v"};
}

const sentencepiece pieces =
    vocabulary({"\u2581The", "\u2581cat", "\u2581drink", "s", ".", "\u2581don", "'", "t", "3"});

TEST(Words, BeginWithABlankAndEndBeforeAMark) {
  const auto of = [](const std::vector<int>& ids) { return texts_of(words_of(pieces, ids, 0)); };
  EXPECT_EQ(of({2, 3, 4, 5, 6, 0}), (texts{"The", "cat", "drinks", ".", "<end>"}));
  EXPECT_EQ(of({7, 8, 9, 6, 0}), (texts{"don't", ".", "<end>"}));
  EXPECT_EQ(of({10, 6, 10, 3}), (texts{"3.3", "cat"}));  // the mark is inside a word
  EXPECT_EQ(of({}), texts{});
}

TEST(Words, SumWhatTheirPiecesAreLookedAtAndLookWhereTheirPiecesLook) {
  const std::vector<word> written = {{"drinks", 0, 2}, {".", 2, 1}};
  const std::vector<word> read = {{"bebe", 0, 1}, {"isto", 1, 3}};
  float_matrix weights(3, 4);
  weights << 0.5f, 0.25f, 0.25f, 0, 1, 0, 0, 0, 0, 0.5f, 0, 0.5f;
  float_matrix expected(2, 2);
  expected << 0.75f, 0.25f, 0, 1;
  EXPECT_EQ(weights_of_words(weights, written, read), expected);
  EXPECT_THROW((void)weights_of_words(weights, read, written), std::invalid_argument);
}

}  // namespace
}  // namespace words_test
