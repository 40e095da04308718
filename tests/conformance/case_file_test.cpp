#include "case_file.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

namespace case_file_test {
namespace {

using conformance::case_error;
using conformance::case_file;
using conformance::read_case;

const std::string origin = "# origin: nobody | LITERAL | licence MIT\n";
const std::string head = origin + "case one\nop none\ntol 1e-6 1e-7\n";
const std::string good = head + "input x float64 2\n1 2\noutput y float64\n3\nend\n";

class CaseFile : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("softlook_case_file_") + info->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "one.case";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  case_file read(const std::string& text) {
    std::ofstream(path_, std::ios::binary) << text;
    return read_case(path_);
  }

  /// The message for a malformed file, without its folder: "one.case:5: …".
  std::string message(const std::string& text) {
    try {
      read(text);
    } catch (const case_error& e) {
      const std::string what = e.what();
      EXPECT_EQ(what.rfind(folder_.string() + "/", 0), 0u) << what;
      return what.substr(folder_.string().size() + 1);
    }
    return "nothing was thrown";
  }

  void expect(const std::string& text, const std::string& start) {
    const std::string got = message(text);
    EXPECT_EQ(got.substr(0, start.size()), start) << got;
  }

  std::filesystem::path folder_, path_;
};

TEST_F(CaseFile, HoldsWhatIsWritten) {
  const case_file c =
      read(origin + "# note: text\ncase one\nop some.op\ntol 0.5 0.25\nattr k 3 0\n" +
           "input x float64 2 3\n1 -2.5 nan inf -inf 1e300\nweight w bool 2\n1 0\n" +
           "input none float32 0 4\n\noutput s int64\n7\nend\n");
  EXPECT_EQ(c.op, "some.op");
  EXPECT_EQ(c.relative_tolerance, 0.5);
  EXPECT_EQ(c.absolute_tolerance, 0.25);
  EXPECT_EQ(c.text("k"), "3 0");
  const auto& x = c.input("x", 2);
  ASSERT_EQ(x.values.size(), 6u);
  EXPECT_EQ(x.values[1], -2.5);
  EXPECT_TRUE(std::isnan(x.values[2]));
  EXPECT_EQ(x.values[4], -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(c.weight("w").is_bool());
  EXPECT_TRUE(c.input("none").values.empty());
  EXPECT_EQ(c.outputs.at("s").values, std::vector<double>{7});
}

TEST_F(CaseFile, ReadsNineDigitsAsTheFloatTheyName) {
  const case_file c = read(head + "input x float32 1\n71.8476562\noutput y float64\n3\nend\n");
  EXPECT_EQ(c.input("x").values[0], 71.84765625);
}

TEST_F(CaseFile, GeneratesThePublishedSequence) {
  const case_file c =
      read(head + "geninput x float64 3 seed 3011 lo -2 hi 2\noutput y float64\n3\nend\n");
  const std::vector<double> published = {-0.47658724538298847, 0.05574148516187405,
                                         1.1320164631624765};
  EXPECT_EQ(c.input("x").values, published);
}

TEST_F(CaseFile, ReadsSamples) {
  const case_file c =
      read(head + "sample y float64 2 3\nsum 1.5 abssum 2.5 count 2\n0 5\n0.25 -0.5\nend\n");
  EXPECT_EQ(c.samples.at("y").positions, (std::vector<conformance::index>{0, 5}));
  EXPECT_EQ(c.samples.at("y").absolute_sum, 2.5);
}

TEST_F(CaseFile, NamesFileAndLineOfEveryFault) {
  expect("", "one.case:1: the file ends");
  expect("case one\n", "one.case:1: the first line must be");
  expect(origin, "one.case:2: the file ends");
  expect(origin + "case\n", "one.case:2: \"case\" takes one word");
  expect(origin + "case one\ncase one\n", "one.case:3: \"case\" is given twice");
  expect(origin + "casserole one\n", "one.case:2: unknown keyword");
  expect(origin + "tol 1e-6\n", "one.case:2: \"tol\" takes two numbers");
  expect(origin + "tol 1e-6 small\n", "one.case:2: \"small\" is not a number");
  expect(origin + "tol -1 0\n", "one.case:2: a tolerance is negative");
  expect(origin + "tol nan 0\n", "one.case:2: \"nan\" is not finite");
  expect(origin + "attr lonely\n", "one.case:2: \"attr\" takes a name and a value");
  expect(head + "attr a 1\nattr a 2\n", "one.case:6: attribute a is given twice");
  expect(good + "more\n", "one.case:10: there is text after \"end\"");
  expect(head + "end\n", "one.case:5: the case expects no output");
  expect(origin + "case two\nop none\ntol 0 0\noutput y bool\n1\nend\n",
         "one.case:7: the case is named \"two\"");
}

TEST_F(CaseFile, ChecksTensors) {
  expect(head + "input x\n", "one.case:5: \"input\" takes a name");
  expect(head + "input x float80 1\n1\n", "one.case:5: unknown dtype \"float80\"");
  expect(head + "input x float64 2\n1\n", "one.case:6: x has 1 values, its shape asks for 2");
  expect(head + "input x float64 2\n1 2 3\n", "one.case:6: x has more than 2 values");
  expect(head + "input x float64 2\n1  2\n", "one.case:6: \"\" is not a number");
  expect(head + "input x float64 2\n1 0x2\n", "one.case:6: \"0x2\" is not a number");
  expect(head + "input x float64 1\n1e999\n", "one.case:6: \"1e999\" is not a number");
  expect(head + "input x float32 1\n1e39\n", "one.case:6: \"1e39\" is too large for float32");
  expect(head + "input x bool 1\n2\n", "one.case:6: a bool is 0 or 1");
  expect(head + "input x int64 1\n1.5\n", "one.case:6: \"1.5\" is not an integer");
  expect(head + "input x int64 1\nnan\n", "one.case:6: \"nan\" is not an integer");
  expect(head + "input x float64 1\n", "one.case:6: the file ends where the values of x");
  expect(head + "input x bool\n1\nweight x bool\n1\n", "one.case:7: tensor x is given twice");
}

TEST_F(CaseFile, RefusesHostileSizesWithoutAskingForMemory) {
  expect(head + "input x float64 -1\n\n", "one.case:5: dimension -1 is negative");
  expect(head + "input x float64 two\n\n", "one.case:5: \"two\" is not a dimension");
  expect(head + "input x float64 99999999999999999999\n\n",
         "one.case:5: \"99999999999999999999\" is not a dimension");
  expect(head + "input x float64 9223372036854775807\n\n",
         "one.case:5: dimension 9223372036854775807");
  expect(head + "input x float64 4294967296 4294967296\n\n", "one.case:5: dimension 4294967296");
  expect(head + "input x float64 16777216 16777216\n\n", "one.case:5: the tensor has more than");
  expect(head + "input x float64 0 16777216 16777216\n\n", "one.case:5: the tensor has more than");
  expect(head + "input x float64 1 1 1 1 1 1 1 1 1\n1\n", "one.case:5: a tensor has more than 8");
  expect(head + "geninput x float64 16777216 2 seed 1 lo 0 hi 1\n",
         "one.case:5: the tensor has more than");
  expect(head + "input x float64 16777216\n1 2\n", "one.case:6: x has 2 values");
}

TEST_F(CaseFile, ChecksGeneratorsAndSamples) {
  expect(head + "geninput x float64 2 seed one lo 0 hi 1\n", "one.case:5: the seed is not");
  expect(head + "geninput x float64 2 seed -1 lo 0 hi 1\n", "one.case:5: the seed is not");
  expect(head + "geninput x float64 2 lo 0 hi 1\n", "one.case:5: \"geninput\" takes");
  expect(head + "geninput x float64 2 seed 1 lo 0 hi inf\n", "one.case:5: \"inf\" is not finite");
  const std::string sample = head + "sample y float64 4\n";
  expect(sample + "sum 1 abssum 1\n", "one.case:6: a sample starts with");
  expect(sample + "sum 1 abssum 1 count 5\n", "one.case:6: a sample has more values");
  expect(sample + "sum 1 abssum 1 count 2\n0 4\n", "one.case:7: position 4 is outside");
  expect(sample + "sum 1 abssum 1 count 2\n1 1\n", "one.case:7: the positions do not increase");
  expect(sample + "sum 1 abssum 1 count 2\n0 1\n1\n", "one.case:8: y has 1 values");
}

TEST_F(CaseFile, SaysWhatAnOperationMisses) {
  const case_file c = read(head + "attr big 1e12\nattr word x\ninput x float64 2\n1 2\n" +
                           "output y float64\n3\nend\n");
  const auto fault = [&](const auto& read_something) {
    try {
      read_something();
    } catch (const case_error& e) {
      return std::string(e.what()).substr(folder_.string().size() + 1);
    }
    return std::string("nothing was thrown");
  };
  EXPECT_EQ(fault([&] { c.input("query"); }), "one.case:1: none needs the input query");
  EXPECT_EQ(fault([&] { c.input("x", 4); }), "one.case:7: x has 1 dimensions, none takes 4");
  EXPECT_EQ(fault([&] { c.number("word", 0); }), "one.case:6: attribute word is not a number");
  EXPECT_EQ(fault([&] { c.integer("big", 0); }),
            "one.case:5: attribute big is not a small integer");
  EXPECT_EQ(c.number("absent", 4), 4);
}

TEST_F(CaseFile, AFileThatIsNotThereIsAnError) {
  EXPECT_THROW(read_case(folder_ / "absent.case"), case_error);
}

}  // namespace
}  // namespace case_file_test
