#include "report.hpp"

#include <gtest/gtest.h>

#include <fstream>

namespace report_test {
namespace {

using conformance::status;
using conformance::verdict;

verdict of(const std::string& file, status s, const std::string& reason = "") {
  verdict v;
  v.file = file;
  v.outcome = s;
  v.reason = reason;
  return v;
}

class Expectation : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::temp_directory_path() /
            (std::string("softlook_expected_") + info->name() + ".txt");
  }
  void TearDown() override { std::filesystem::remove(path_); }

  bool matches(const std::string& text, const std::vector<verdict>& verdicts) {
    std::ofstream(path_) << text;
    return conformance::matches_expectation(path_, verdicts);
  }

  std::filesystem::path path_;
};

TEST_F(Expectation, IsMetByTheSameFilesWithTheSameStatus) {
  const std::vector<verdict> now = {of("a/one.case", status::passed),
                                    of("a/two.case", status::differs, "rows without keys")};
  EXPECT_TRUE(
      matches("# comment\n\na/one.case passed\na/two.case differs rows without keys\n", now));
  EXPECT_FALSE(matches("a/one.case passed\n", now));
  EXPECT_FALSE(matches("a/one.case passed\na/two.case differs\n", now));
  EXPECT_FALSE(matches("a/one.case passed\na/two.case passed\n", now));
  EXPECT_FALSE(
      matches("a/one.case passed\na/two.case differs rows without keys\nb.case passed\n", now));
  EXPECT_FALSE(
      matches("a/one.case passed\na/one.case passed\na/two.case differs rows without keys\n", now));
  EXPECT_FALSE(matches("a/one.case\na/two.case differs rows without keys\n", now));
}

TEST_F(Expectation, IsReadBackAsRecorded) {
  const std::vector<verdict> now = {of("one.case", status::skipped, "no adapter"),
                                    of("two.case", status::passed)};
  ASSERT_TRUE(conformance::record(path_, now));
  EXPECT_TRUE(conformance::matches_expectation(path_, now));
}

TEST_F(Expectation, AFileThatIsNotThereIsNotMet) {
  EXPECT_FALSE(conformance::matches_expectation(path_, {}));
}

TEST(ExitCode, TellsFailureAndNothingPassed) {
  EXPECT_EQ(conformance::exit_code({of("a", status::passed), of("b", status::skipped)}), 0);
  EXPECT_EQ(conformance::exit_code({of("a", status::passed), of("b", status::failed)}), 1);
  EXPECT_EQ(conformance::exit_code({of("a", status::skipped), of("b", status::differs)}), 2);
  EXPECT_EQ(conformance::exit_code({}), 2);
}

}  // namespace
}  // namespace report_test
