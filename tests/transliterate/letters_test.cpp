#include "examples/transliterate/letters.hpp"

#include <gtest/gtest.h>

#include "examples/transliterate/weights_file.hpp"
#include "tests/support/errors.hpp"

namespace {

using softlook_test::message_of;
using transliterate::letters;
using transliterate::weights_file;
using tokens = std::vector<softlook::index>;

TEST(Letters, AreNumberedFromOneAndFilledWithZero) {
  const letters known("a\u17D2b\n");
  EXPECT_EQ(known.tokens("b\u17D2a", 5), (tokens{3, 2, 1, 0, 0}));
  EXPECT_EQ(known.token("\n"), 4);
  EXPECT_EQ(known.letter(2), "\u17D2");
  EXPECT_EQ(known.letter(0), "");
  EXPECT_THROW((void)known.letter(5), std::out_of_range);
  EXPECT_EQ(known.tokens("", 1), tokens{0});
}

TEST(Letters, SayWhatTheyDoNotKnow) {
  const letters known("ab");
  EXPECT_EQ(message_of<std::invalid_argument>([&] { (void)known.tokens("ac", 5); }),
            "the model does not know the letter c");
  EXPECT_EQ(message_of<std::invalid_argument>([&] { (void)known.tokens("aba", 2); }),
            "the word has 3 letters, the model takes 2");
  EXPECT_EQ(letters::split("a\xFF\x80"), (std::vector<std::string>{"a", "\xFF\x80"}));
}

TEST(WeightsFile, GivesMatricesThatLieInItAndAreFinite) {
  const auto path = std::filesystem::temp_directory_path() / "softlook_weights_file_test";
  const float values[] = {1, 2, 3, 4, std::numeric_limits<float>::quiet_NaN()};
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(values), sizeof values);
  const weights_file file(path);
  EXPECT_EQ(file.at(4, 1, 3), (transliterate::matrix(1, 3) << 2, 3, 4).finished());
  EXPECT_EQ(file.at(20, 0, 3).rows(), 0);
  const auto at = [&](std::size_t offset, Eigen::Index rows) {
    return message_of<transliterate::model_error>([&] { (void)file.at(offset, rows, 2); });
  };
  EXPECT_EQ(at(0, 3),
            path.string() + ": a matrix of 24 bytes should begin at byte 0, but the file has 20");
  EXPECT_EQ(at(24, 1),
            path.string() + ": a matrix of 8 bytes should begin at byte 24, but the file has 20");
  EXPECT_EQ(at(12, 1), path.string() + ": the matrix at byte 12 is not finite");
  std::filesystem::remove(path);
  EXPECT_EQ(message_of<transliterate::model_error>([&] { weights_file{path}; }),
            path.string() + ": the file cannot be opened");
}

}  // namespace
