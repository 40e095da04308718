#include "examples/smollm/tokenizer.hpp"

#include <gtest/gtest.h>

#include <random>

#include "tests/smollm/file.hpp"

namespace smollm::tokenizer_test {
namespace {

using smollm_test::vocabulary;

tokenizer tokenizer_of(const vocabulary& v) {
  const std::vector<std::string_view> tokens(v.tokens.begin(), v.tokens.end());
  const std::vector<std::string_view> merges(v.merges.begin(), v.merges.end());
  std::vector<bool> special;
  for (const std::int32_t type : v.types) special.push_back(type == 3);
  return {tokens, special, merges, "it"};
}

const vocabulary& small() {
  static const vocabulary v({{"h", "e"},
                             {"l", "l"},
                             {"he", "ll"},
                             {" ", "he"},
                             {"hell", "o"},
                             {" ", "w"},
                             {"a", "a"},
                             {"aa", "aa"},
                             {"\xc3", "\xa9"},
                             {"'", "t"},
                             {" ", " "}});
  return v;
}

/// The tokens of a text, with | between them.
std::string cut(const tokenizer& t, std::string_view text) {
  std::string out;
  for (const int id : t.encode(text)) out += (out.empty() ? "" : "|") + t.bytes(id);
  return out;
}

/// Byte pairs by their definition: again and again the pair that was learned first, the leftmost.
std::vector<std::string> joined_slowly(const vocabulary& v, std::string_view word) {
  std::vector<std::string> parts;
  for (const char c : word) parts.push_back(smollm_test::written({&c, 1}));
  while (true) {
    std::size_t best = v.merges.size(), at = 0;
    for (std::size_t k = 0; k + 1 < parts.size(); ++k)
      for (std::size_t m = 0; m < best; ++m)
        if (v.merges[m] == parts[k] + ' ' + parts[k + 1]) {
          best = m;
          at = k;
        }
    if (best == v.merges.size()) return parts;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(Tokenizer, JoinsBytesInTheOrderInWhichPairsWereLearned) {
  const tokenizer t = tokenizer_of(small());
  EXPECT_EQ(cut(t, "hello"), "hello");
  EXPECT_EQ(cut(t, "hell"), "hell");
  EXPECT_EQ(cut(t, " hello"), " |hello") << "ll comes before the space";
  EXPECT_EQ(cut(t, " he"), " he");
  EXPECT_EQ(cut(t, "aaaaa"), "aaaa|a");
  EXPECT_EQ(cut(t, "caf\xc3\xa9"), "c|a|f|\xc3\xa9");
  EXPECT_EQ(cut(t, ""), "");
}

TEST(Tokenizer, CutsWordsAsGpt2DoesAndDigitsOneByOne) {
  const tokenizer t = tokenizer_of(small());
  EXPECT_EQ(cut(t, "a a"), "a| |a") << "a space belongs to the word behind it";
  EXPECT_EQ(cut(t, "  w"), " | w") << "the last of several";
  EXPECT_EQ(cut(t, "a  "), "a|  ") << "at the end all";
  EXPECT_EQ(cut(t, "a  1"), "a|  |1") << "a digit takes none";
  EXPECT_EQ(cut(t, "a'ta"), "a|'t|a");
  EXPECT_EQ(cut(t, "aa1aa2"), "aa|1|aa|2");
  EXPECT_EQ(cut(t, "aa\naa"), "aa|\n|aa");
  EXPECT_EQ(cut(t, "!aa"), "!|aa");
}

TEST(Tokenizer, IsItsDefinitionOnRandomWords) {
  const tokenizer t = tokenizer_of(small());
  std::mt19937 random(3021);
  for (int round = 0; round < 2000; ++round) {
    std::string word;
    for (std::size_t k = random() % 12; k > 0; --k) word += "helloaaw"[random() % 8];
    std::string slowly, quickly;
    for (const std::string& part : joined_slowly(small(), word)) slowly += part + '|';
    for (const int id : t.encode(word)) quickly += smollm_test::written(t.bytes(id)) + '|';
    EXPECT_EQ(quickly, slowly) << word;
  }
}

TEST(Tokenizer, GivesEveryTextBack) {
  const tokenizer t = tokenizer_of(small());
  std::mt19937 random(3023);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (std::size_t k = random() % 30; k > 0; --k) text += static_cast<char>(random());
    EXPECT_EQ(t.decode(t.encode(text)), text);
  }
}

TEST(Tokenizer, LeavesOutBytesThatAreNoToken) {
  vocabulary v = small();
  v.tokens[10] = "<none>";  // the byte 7
  const tokenizer t = tokenizer_of(v);
  EXPECT_EQ(cut(t, "\a"), "");
  EXPECT_EQ(cut(t, "a\aa"), "a|a") << "it is still what cuts words";
  EXPECT_EQ(cut(t, "\a!"), "!");
}

TEST(Tokenizer, TakesLongWords) {
  const tokenizer t = tokenizer_of(small());
  EXPECT_EQ(t.encode(std::string(1 << 16, 'a')).size(), std::size_t{1} << 14U);
}

TEST(Tokenizer, SpecialTokensAreThemselvesWhereTheyAreLookedFor) {
  const tokenizer t = tokenizer_of(small());
  const int begin = t.special("<|im_start|>"), end = t.special("<|im_end|>");
  const std::string text = "<|im_start|>hello<|im_end|>";
  EXPECT_EQ(t.encode_with_specials(text), (std::vector<int>{begin, t.encode("hello")[0], end}));
  EXPECT_GT(t.encode(text).size(), 10u) << "in a user's words they are text";
  EXPECT_EQ(t.decode(t.encode(text)), text);
  EXPECT_EQ(t.decode(t.encode_with_specials(text)), "hello");
  EXPECT_EQ(t.encode_with_specials("<|im_"), t.encode("<|im_"));
  EXPECT_THROW((void)t.special("<|none|>"), model_error);
  EXPECT_THROW((void)t.bytes(-1), std::out_of_range);
}

TEST(Tokenizer, RefusesWhatIsNoVocabulary) {
  const auto refusal = [](auto&& change) -> std::string {
    vocabulary v = small();
    change(v);
    try {
      (void)tokenizer_of(v);
    } catch (const model_error& e) {
      return e.what();
    }
    return {};
  };
  EXPECT_EQ(refusal([](auto&) {}), "");
  EXPECT_EQ(refusal([](auto& v) { v.tokens[10] = v.tokens[11]; }), "it: token 11 is there twice");
  EXPECT_EQ(refusal([](auto& v) { v.merges[0] = "he"; }), "it: merge 0 is not a pair of tokens");
  EXPECT_EQ(refusal([](auto& v) { v.merges[1] = "x y"; }),
            "it: merge 1 is not of tokens to a token");
  EXPECT_EQ(refusal([](auto& v) { v.tokens[1] = v.tokens[0]; }), "it: token 1 is there twice");
}

TEST(WholeCharacters, EndBeforeABrokenBeginning) {
  EXPECT_EQ(whole_characters(""), 0u);
  EXPECT_EQ(whole_characters("abc"), 3u);
  EXPECT_EQ(whole_characters("a\xc3"), 1u);
  EXPECT_EQ(whole_characters("a\xc3\xa9"), 3u);
  EXPECT_EQ(whole_characters("a\xe2\x82"), 1u);
  EXPECT_EQ(whole_characters("a\xe2\x82\xac"), 4u);
  EXPECT_EQ(whole_characters("\xf0\x9f\x98"), 0u);
  EXPECT_EQ(whole_characters("\xf0\x9f\x98\x80"), 4u);
  EXPECT_EQ(whole_characters("\x80\x80\x80\x80\x80"), 5u) << "what never begins is not waited for";
  EXPECT_EQ(whole_characters("\xff"), 1u);
}

}  // namespace
}  // namespace smollm::tokenizer_test
