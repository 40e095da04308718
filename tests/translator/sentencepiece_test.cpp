#include "examples/translator/sentencepiece.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "examples/support/files.hpp"
#include "tests/support/errors.hpp"

namespace sentencepiece_test {
namespace {

using softlook_test::message_of;
using translator::model_error;
using translator::sentencepiece;
using ids = std::vector<int>;
using words = std::vector<std::string>;

std::string varint(std::uint64_t n) {
  std::string out;
  for (; n > 127; n >>= 7) out += static_cast<char>(n | 128);
  return out + static_cast<char>(n);
}
std::string number_field(int field, std::uint64_t n) {
  return varint(static_cast<std::uint64_t>(field) << 3) + varint(n);
}
std::string bytes_field(int field, const std::string& bytes) {
  return varint(static_cast<std::uint64_t>(field) << 3 | 2) + varint(bytes.size()) + bytes;
}
std::string float_field(int field, float x) {
  std::string bytes(sizeof x, '\0');
  examples::put_number(x, reinterpret_cast<std::byte*>(bytes.data()));
  return varint(static_cast<std::uint64_t>(field) << 3 | 5) + bytes;
}

std::string piece(const std::string& text, float score, std::uint64_t type = 1) {
  return bytes_field(
      1, bytes_field(1, text) + float_field(2, score) + (type == 1 ? "" : number_field(3, type)));
}

const std::string specials = piece("</s>", 0, 3) + piece("<unk>", 0, 2);
const std::string small_file = specials + piece("\u2581a", -1) + piece("a", -2) + piece("b", -3) +
                               piece("ab", -4) + piece("abb", -6) + piece("\u2581", -5) +
                               piece("\u2581the", -2) + piece("é", -3) + piece("old", -1, 5) +
                               piece("\u2581XY", 0, 4) + piece(".", -2);

sentencepiece read(const std::string& file) { return {std::as_bytes(std::span(file)), "v"}; }

words cut(const sentencepiece& s, std::string_view text) {
  words out;
  for (const int id : s.encode(text)) out.push_back(s.piece(id));
  return out;
}
words cut(std::string_view text) {
  static const sentencepiece s = read(small_file);
  return cut(s, text);
}

TEST(SentencePiece, TakesTheMostProbableCut) {
  EXPECT_EQ(cut("a"), words{"\u2581a"});
  EXPECT_EQ(cut("ab"), (words{"\u2581a", "b"}));      // −4, but ▁ ab −9
  EXPECT_EQ(cut("aab"), (words{"\u2581a", "ab"}));    // −5, but ▁a a b −6
  EXPECT_EQ(cut("aabb"), (words{"\u2581a", "abb"}));  // −7, but ▁a ab b −8
  EXPECT_EQ(cut("the aé."), (words{"\u2581the", "\u2581a", "é", "."}));
  EXPECT_EQ(cut(""), words{});
}

TEST(SentencePiece, MakesOneBlankOfMany) {
  EXPECT_EQ(cut("  the   a  "), (words{"\u2581the", "\u2581a"}));
  EXPECT_EQ(cut("   "), words{});
  EXPECT_EQ(read(small_file).normalized(" the  a "), "\u2581the\u2581a");
}

TEST(SentencePiece, MakesOneUnknownPieceOfARunOfUnknownCharacters) {
  EXPECT_EQ(cut("a東京a"), (words{"\u2581a", "<unk>", "a"}));
  EXPECT_EQ(cut("東a京"), (words{"\u2581", "<unk>", "a", "<unk>"}));
  EXPECT_EQ(cut("a\xFF\xC3"), (words{"\u2581a", "<unk>"}));
  EXPECT_EQ(read(small_file).decode(ids{2, 1, 3}), "a \u2047 a");
}

TEST(SentencePiece, KnowsKindsOfPieces) {
  EXPECT_EQ(cut("old"), (words{"\u2581", "<unk>"}));  // unused
  EXPECT_EQ(cut("a</s>"), (words{"\u2581a", "<unk>"}));
  EXPECT_EQ(cut("XY"), words{"\u2581XY"});
  EXPECT_EQ(read(small_file).decode(ids{8, 2, 3, 0}), "the aa");
  EXPECT_EQ(read(small_file).id_of("ab"), 5);
  EXPECT_EQ(read(small_file).id_of("none"), read(small_file).unknown());
  EXPECT_THROW((void)read(small_file).piece(-1), std::out_of_range);
  EXPECT_THROW((void)read(small_file).decode(ids{99}), std::out_of_range);
}

std::string unit(std::uint32_t u) {
  std::string bytes(sizeof u, '\0');
  examples::put_number(u, reinterpret_cast<std::byte*>(bytes.data()));
  return bytes;
}

/// A double array of two words: "\t" becomes a blank, "\tx" becomes "ab". Unit 0 is the root with
/// the offset 16; bits 10 to 30 are an offset, bit 8 says that a leaf follows.
std::string map_of_characters() {
  std::vector<std::uint32_t> units(256, 0x7FFFFFFF);
  units[0] = 16 << 10;
  units[16 ^ '\t'] = '\t' | 1 << 8 | ((16 ^ '\t') ^ 32) << 10;  // its children at 32
  units[32] = 1U << 31 | 0;                                     // text 0
  units[32 ^ 'x'] = 'x' | 1 << 8 | std::uint32_t{(32 ^ 'x') ^ 128} << 10;
  units[128] = 1U << 31 | 2;  // text 2
  std::string out = unit(static_cast<std::uint32_t>(units.size() * sizeof(std::uint32_t)));
  for (const std::uint32_t u : units) out += unit(u);
  return out + std::string(" \0ab\0", 5);
}

TEST(SentencePiece, ReplacesTheLongestCharacters) {
  const sentencepiece s = read(small_file + bytes_field(3, bytes_field(2, map_of_characters())));
  EXPECT_EQ(s.normalized("the\ta"), "\u2581the\u2581a");
  EXPECT_EQ(s.normalized("the\txa"), "\u2581theaba");
  EXPECT_EQ(s.normalized("\tx\t"), "\u2581ab");
  EXPECT_EQ(cut(s, "\t\tthe\t"), words{"\u2581the"});
}

TEST(SentencePiece, LeavesBlanksAsTheFileSays) {
  const auto with = [](int field) { return bytes_field(3, number_field(field, 0)); };
  EXPECT_EQ(read(small_file + with(3)).normalized(" a  b "), "a\u2581b");
  EXPECT_EQ(read(small_file + with(4)).normalized(" a  b "), "\u2581\u2581a\u2581\u2581b\u2581");
  EXPECT_EQ(read(small_file + with(5)).normalized(" a  b "), " a b");
}

std::string message(const std::string& file) {
  return message_of<model_error>([&] { read(file); });
}

TEST(SentencePiece, PassesOverFieldsItDoesNotKnow) {
  EXPECT_EQ(message(small_file + number_field(9, 1) + bytes_field(10, "x") + float_field(11, 1) +
                    varint(12 << 3 | 1) + "12345678"),
            "nothing was thrown");
}

TEST(SentencePiece, SaysWhatIsWrongWithTheFile) {
  EXPECT_EQ(message(""), "v: no piece is the unknown one");
  EXPECT_EQ(message(specials), "v: no piece is a normal one");
  EXPECT_EQ(message("\x0A\x7F"
                    "abc"),
            "v: a field takes 127 bytes but only 3 are left (is the file cut off?)");
  EXPECT_EQ(message("\x0B"), "v: a field is written in the way 3, which is not known");
  EXPECT_EQ(message(std::string(1, '\0')), "v: a field has the number 0");
  EXPECT_EQ(message(std::string(11, '\xFF')), "v: a number has more than 64 bits");
  EXPECT_EQ(message(small_file + piece("a", 0)), "v: piece 13: the text of piece 3 again");
  EXPECT_EQ(message(small_file + piece("u", 0, 2)), "v: piece 13: it is unknown, as piece 1 is");
  EXPECT_EQ(message(piece("", 0)), "v: piece 0: it has no text");
  EXPECT_EQ(message(piece("\xC3", 0)), "v: piece 0: its text is not UTF-8");
  EXPECT_EQ(message(piece("a", std::numeric_limits<float>::infinity())),
            "v: piece 0: its score is not finite");
  EXPECT_EQ(message(piece("a", 0, 7)), "v: piece 0: its type is 7, known are 1 to 6");
  EXPECT_EQ(message(bytes_field(2, number_field(3, 2))),
            "v: the model is of type 2, only 1, unigram, is known here");
  EXPECT_EQ(message(bytes_field(3, bytes_field(2, "ab"))),
            "v: the map of characters has 2 bytes, its length takes 4");
  EXPECT_EQ(message(bytes_field(3, bytes_field(2, unit(8) + "abcd"))),
            "v: the map of characters should have 8 bytes, a multiple of 4, and 4 follow");
  for (std::size_t length = 0; length < small_file.size(); ++length)
    (void)message(small_file.substr(0, length));
}

}  // namespace
}  // namespace sentencepiece_test
