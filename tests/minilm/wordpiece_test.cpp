#include "examples/minilm/wordpiece.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <stdexcept>

#include "tests/support/errors.hpp"

namespace wordpiece_test {
namespace {

using minilm::model_error;
using minilm::wordpiece;
using softlook_test::message_of;
using words = std::vector<std::string>;

const std::string specials = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";

wordpiece from(const std::string& vocabulary) {
  std::istringstream in(vocabulary);
  return {in, "v"};
}

const wordpiece& small() {
  static const wordpiece tokenizer =
      from(specials +
           "the\nanimal\ndid\nn\nt\n'\nem\n##bed\n##b\n##d\nembe\nresume\ncafe\n東\n京\n,\n!\n$\n"
           "s\n##ς\n##σ\nσ\ni\na\n##a\n##i\nb\n#\nᄒ\n##ᅡ\n##ᆫ\n하\n[\n]\ncls\nmask\n");
  return tokenizer;
}

words tokens(std::string_view text, std::size_t limit = 256) {
  words all = small().tokens(small().encode(text, limit));
  EXPECT_GE(all.size(), 2u);
  EXPECT_EQ(all.front(), "[CLS]");
  EXPECT_EQ(all.back(), "[SEP]");
  return {all.begin() + 1, all.end() - 1};
}

TEST(WordPiece, NumbersTokensByLine) {
  EXPECT_EQ(small().encode("the animal"), (std::vector<int>{2, 5, 6, 3}));
  EXPECT_EQ(small().token(11), "em");
  EXPECT_EQ(small().token(12), "##bed");
  EXPECT_THROW((void)small().token(-1), std::out_of_range);
  EXPECT_THROW((void)small().token(static_cast<int>(small().size())), std::out_of_range);
}

TEST(WordPiece, SplitsWordsAndPunctuation) {
  EXPECT_EQ(tokens("The animal didn't!"), (words{"the", "animal", "[UNK]", "'", "t", "!"}));
  EXPECT_EQ(tokens("a$b,,a"), (words{"a", "$", "b", ",", ",", "a"}));
  EXPECT_EQ(tokens(" \t\r\n\u00A0\u2003a\u2028b\u3000"), (words{"a", "b"}));
  EXPECT_EQ(tokens(""), words{});
}

TEST(WordPiece, TakesTheLongestPieceFirst) {
  EXPECT_EQ(tokens("embed"), (words{"embe", "##d"}));
  EXPECT_EQ(tokens("embb"), (words{"em", "##b", "##b"}));
  EXPECT_EQ(tokens("aaia"), (words{"a", "##a", "##i", "##a"}));
}

TEST(WordPiece, IsGreedySoAWordMayBeUnknownThoughItCouldBeCut) {
  // embe + ##bed would need "embebed"; "embebe" leaves an e that no token continues.
  EXPECT_EQ(tokens("embebed"), (words{"embe", "##bed"}));
  EXPECT_EQ(tokens("embebe"), (words{"[UNK]"}));
  EXPECT_EQ(tokens("the xyz a"), (words{"the", "[UNK]", "a"}));
}

TEST(WordPiece, LowersLettersAndDropsAccents) {
  EXPECT_EQ(tokens("RÉSUMÉ"), words{"resume"});
  EXPECT_EQ(tokens("cafe\u0301"), words{"cafe"});
  EXPECT_EQ(tokens("caf\u00E9\u0323\u0301"), words{"cafe"});
  EXPECT_EQ(tokens("\u0130"), words{"i"});      // dotted capital I
  EXPECT_EQ(tokens("\u0131"), words{"[UNK]"});  // dotless i is another letter
  EXPECT_EQ(tokens("\u212B"), words{"a"});      // Angstrom sign
}

TEST(WordPiece, LowersEveryCapitalSigmaAlike) {
  EXPECT_EQ(tokens("sΣ"), (words{"s", "##σ"}));
  EXPECT_EQ(tokens("sς"), (words{"s", "##ς"}));
}

TEST(WordPiece, CutsIdeographsApartButNotHangul) {
  EXPECT_EQ(tokens("a東京b"), (words{"a", "東", "京", "b"}));
  EXPECT_EQ(tokens("\uD55C"), (words{"하", "##ᆫ"}));  // decomposed: ᄒ ᅡ ᆫ
}

TEST(WordPiece, DropsControlsAndBrokenBytes) {
  EXPECT_EQ(tokens(std::string("t\0h\x01", 4) + "e\x7F"), words{"the"});
  EXPECT_EQ(tokens("t\u200Dh\uFEFFe\u00AD\uFFFD"), words{"the"});
  EXPECT_EQ(tokens("t\xFFh\xC3"
                   "e"),
            words{"the"});
  EXPECT_EQ(tokens("the\xE6\x9D"), words{"the"});  // cut inside an ideograph
  EXPECT_EQ(tokens("a\xED\xA0\x80\xC0\x80"
                   "a"),
            (words{"a", "##a"}));                          // surrogate, long form
  EXPECT_EQ(tokens("\xF4\x90\x80\x80the"), words{"the"});  // beyond Unicode
}

TEST(WordPiece, TakesWordsOfAtMostAHundredCharacters) {
  const std::string a(100, 'a');
  EXPECT_EQ(tokens(a).size(), 100u);
  EXPECT_EQ(tokens(a + "a"), words{"[UNK]"});
  std::string accented;
  for (int i = 0; i < 100; ++i) accented += "\u00E1";  // two bytes each, a character
  EXPECT_EQ(tokens(accented).size(), 100u);
}

TEST(WordPiece, ReadsSpecialTokensThatAreWrittenOut) {
  EXPECT_EQ(tokens("the [MASK]a"), (words{"the", "[MASK]", "a"}));
  EXPECT_EQ(tokens("a[SEP]b[CLS]"), (words{"a", "[SEP]", "b", "[CLS]"}));
  EXPECT_EQ(tokens("[mask]"), (words{"[", "mask", "]"}));
  EXPECT_EQ(tokens("[[PAD]]"), (words{"[", "[PAD]", "]"}));
  EXPECT_EQ(tokens("[MASK"), (words{"[", "mask"}));
}

TEST(WordPiece, CutsLongTextsAndAlwaysEndsWithSep) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "the ";
  EXPECT_EQ(small().encode(text).size(), wordpiece::longest_input);
  EXPECT_EQ(tokens(text, 5), (words{"the", "the", "the"}));
  EXPECT_EQ(tokens("embed embed", 5), (words{"embe", "##d", "embe"}));
  EXPECT_EQ(tokens("[MASK][MASK][MASK]", 4), (words{"[MASK]", "[MASK]"}));
  EXPECT_EQ(tokens("the", 2), words{});
  EXPECT_EQ(tokens("the", 0), words{});
}

TEST(WordPiece, ReadsLinesThatEndAsOnWindows) {
  const wordpiece w = from("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\nthe");
  EXPECT_EQ(w.tokens(w.encode("the")), (words{"[CLS]", "the", "[SEP]"}));
}

std::string message(const std::string& vocabulary) {
  return message_of<model_error>([&] { from(vocabulary); });
}

TEST(WordPiece, SaysWhatIsWrongWithTheVocabulary) {
  EXPECT_EQ(message(""), "v:1: the file holds no token");
  EXPECT_EQ(message(specials + "a\n\nb\n"), "v:7: the line is empty");
  EXPECT_EQ(message(specials + "a\nb\na\n"), "v:8: the token of line 6 again");
  EXPECT_EQ(message(specials + "##a\na\n##a\n"), "v:8: the token of line 6 again");
  EXPECT_EQ(message(specials + "caf\xC3\n"), "v:6: the line is not UTF-8");
  EXPECT_EQ(message("[PAD]\n[UNK]\n[SEP]\n[MASK]\n"), "v: the token [CLS] is missing");
  EXPECT_EQ(message("the\n"), "v: the token [PAD] is missing");
}

TEST(WordPiece, SaysWhichFileItCannotRead) {
  const auto text_of = [](const std::filesystem::path& path) {
    return message_of<model_error>([&] { wordpiece{path}; });
  };
  EXPECT_EQ(text_of("/there/is/no/vocab.txt"), "/there/is/no/vocab.txt: the file cannot be opened");
  EXPECT_EQ(text_of("/"), "/:1: the file cannot be read");
}

}  // namespace
}  // namespace wordpiece_test
