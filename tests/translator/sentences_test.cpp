#include "examples/translator/sentences.hpp"

#include <gtest/gtest.h>

namespace sentences_test {
namespace {

using translator::sentences_of;
using texts = std::vector<std::string>;

TEST(Sentences, EndBehindTheirMarks) {
  EXPECT_EQ(sentences_of("It rains. The cat sleeps! Does it? Yes… It does."),
            (texts{"It rains.", "The cat sleeps!", "Does it?", "Yes…", "It does."}));
  EXPECT_EQ(sentences_of("What?! No... Never."), (texts{"What?!", "No...", "Never."}));
  EXPECT_EQ(sentences_of("  One.  Two.\tThree \r"), (texts{"One.", "Two.", "Three"}));
  EXPECT_EQ(sentences_of("A heading"), (texts{"A heading"}));
}

TEST(Sentences, KeepTheQuotesThatClose) {
  EXPECT_EQ(
      sentences_of("\"It rains.\" She left. (He stayed.) “Why?” «No.» [1.] Yes."),
      (texts{"\"It rains.\"", "She left.", "(He stayed.)", "“Why?”", "«No.»", "[1.]", "Yes."}));
  EXPECT_EQ(sentences_of("\"It rains!\" she said."), (texts{"\"It rains!\" she said."}));
}

TEST(Sentences, DoNotEndInsideOfOne) {
  for (const char* one :
       {"Dr. Silva and Mrs. Jones met J. S. Bach.", "It costs 3.50 dollars, e.g. Here.",
        "Visit www.example.org today.", "O Sr. Costa e a Sra. Lima saíram.", "1. Wash your hands.",
        "Wait ... and see.", "Foi assim... é assim.", "He has no. 7.", "Really?, he asked."})
    EXPECT_EQ(sentences_of(one), texts{one});
}

TEST(Sentences, EndBehindWordsThatAreNoAbbreviations) {
  EXPECT_EQ(sentences_of("So do I. Come here."), (texts{"So do I.", "Come here."}));
  EXPECT_EQ(sentences_of("She said no. He left, etc. I love art. Look."),
            (texts{"She said no.", "He left, etc.", "I love art.", "Look."}));
  EXPECT_EQ(sentences_of("It was 1969. They landed."), (texts{"It was 1969.", "They landed."}));
  EXPECT_EQ(sentences_of("Ele veio. Água fria. \"Dr.\" Silva."),
            (texts{"Ele veio.", "Água fria.", "\"Dr.\"", "Silva."}));
}

TEST(Sentences, OfNothingAreNone) {
  for (const char* none : {"", " \t\r"}) EXPECT_EQ(sentences_of(none), texts{});
  EXPECT_EQ(sentences_of("."), (texts{"."}));
  EXPECT_EQ(sentences_of("... ! ?"), (texts{"...", "!", "?"}));
}

}  // namespace
}  // namespace sentences_test
