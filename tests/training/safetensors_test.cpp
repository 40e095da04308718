#include "examples/support/safetensors.hpp"

#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <string_view>

#include "examples/support/files.hpp"
#include "tests/support/errors.hpp"

namespace safetensors_test {
namespace {

using examples::model_error;
using examples::safetensors;
using softlook_test::message_of;

std::string file_of(const std::string& header, const std::string& data,
                    std::uint64_t declared_length) {
  std::string bytes(sizeof declared_length, '\0');
  examples::put_number(declared_length, reinterpret_cast<std::byte*>(bytes.data()));
  return bytes + header + data;
}

std::string file_of(const std::string& header, const std::string& data = "") {
  return file_of(header, data, header.size());
}

std::string bytes_of(const std::vector<float>& values) {
  std::string out(values.size() * sizeof(float), '\0');
  for (std::size_t k = 0; k < values.size(); ++k)
    examples::put_number(values[k], reinterpret_cast<std::byte*>(out.data()) + k * sizeof(float));
  return out;
}

safetensors read(std::string_view file) { return {std::as_bytes(std::span(file)), "m"}; }

std::string message(std::string_view file) {
  return message_of<model_error>([&] { read(file); });
}

/// What is said of a header that describes 8 bytes of data.
std::string of_header(const std::string& header) {
  return message(file_of(header, std::string(8, '\0')));
}

/// The same for the inside of the only tensor.
std::string of_tensor(const std::string& inside) { return of_header("{\"x\":{" + inside + "}}"); }

const std::string good =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[3],"data_offsets":[24,36]},)"
    R"("a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})";
const std::vector<float> values = {1, 2, 3, 4, 5, 6, 7, 8, 9};

TEST(Safetensors, GivesMatricesAndVectors) {
  const std::string file = file_of(good + "  ", bytes_of(values));
  const safetensors s = read(file);
  examples::float_matrix a(2, 3), b(1, 3);
  a << 1, 2, 3, 4, 5, 6;
  b << 7, 8, 9;
  EXPECT_EQ(s.matrix("a"), a);
  EXPECT_EQ(s.matrix("b", 1, 3), b);
  EXPECT_EQ(s.tensors().size(), 2u);
  EXPECT_EQ(s.tensor("a").shape, (std::vector<std::uint64_t>{2, 3}));
  EXPECT_EQ(s.metadata().at("format"), "pt");
}

TEST(Safetensors, ReadsFloatsFromAnyAddress) {
  for (std::size_t shift = 0; shift < 4; ++shift) {
    const std::string file =
        std::string(shift, ' ') + file_of(good + std::string(shift, ' '), bytes_of(values));
    const safetensors first = read(std::string_view(file).substr(shift));
    // Also after the object has moved: a copy must stay where it is.
    const auto map = first.matrix("a");
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(map.data()) % alignof(float), 0u);
    EXPECT_EQ(map(1, 2), 6);
  }
  const std::string file = file_of(good + " ", bytes_of(values));
  safetensors first = read(file);
  const safetensors second = std::move(first);
  EXPECT_EQ(second.matrix("b")(0, 2), 9);
}

TEST(Safetensors, GivesOtherDtypesAsBytes) {
  const std::string file = file_of(R"({"i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                                   R"("h":{"dtype":"BF16","shape":[1,1],"data_offsets":[8,10]}})",
                                   "12345678ab");
  const safetensors s = read(file);
  EXPECT_EQ(s.tensor("i").dtype, "I64");
  EXPECT_EQ(s.tensor("i").bytes.size(), 8u);
  EXPECT_EQ(s.tensor("h").bytes[1], std::byte{'b'});
}

TEST(Safetensors, TakesEmptyTensorsScalarsAndNone) {
  const std::string file = file_of(R"({"none":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]},)"
                                   R"("one":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
                                   bytes_of({5}));
  const safetensors s = read(file);
  EXPECT_EQ(s.matrix("none").rows(), 0);
  EXPECT_EQ(s.matrix("none").cols(), 7);
  EXPECT_EQ(s.matrix("one", 1, 1)(0, 0), 5);
  EXPECT_TRUE(read(file_of("{}")).tensors().empty());
}

TEST(Safetensors, EscapedNamesAreTheSameName) {
  const std::string file = file_of(
      "{\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":"
      "[0,0]},\"a\":{}}");
  EXPECT_EQ(message(file), "m: tensor \"a\": it is given twice");
}

TEST(Safetensors, SaysWhatIsWrongWithTheFile) {
  EXPECT_EQ(message(""), "m: the file has 0 bytes, the length of the header takes 8");
  EXPECT_EQ(message("1234567"), "m: the file has 7 bytes, the length of the header takes 8");
  EXPECT_EQ(message(file_of("{}", "", 100'000'001)),
            "m: the header should have 100000001 bytes, more than the 100000000 allowed (is this a "
            "safetensors file?)");
  EXPECT_EQ(message(std::string(100, '\xFF')),
            "m: the header should have 18446744073709551615 bytes, more than the 100000000 allowed "
            "(is this a safetensors file?)");
  EXPECT_EQ(message(file_of("{}", "", 3)),
            "m: the header should have 3 bytes but only 2 follow (is the file cut off?)");
  EXPECT_EQ(message(file_of("")), "m: the header does not start with {");
  EXPECT_EQ(message(file_of(" {}")), "m: the header does not start with {");
  EXPECT_EQ(message(file_of("\xEF\xBB\xBF{}")), "m: the header does not start with {");
  EXPECT_EQ(message(file_of("{}", "abc")), "m: 3 bytes follow the last tensor");
}

TEST(Safetensors, SaysWhereTheHeaderIsNotJson) {
  EXPECT_EQ(message(file_of("{")), "m: the header is not JSON at its byte 2");
  EXPECT_EQ(message(file_of("{} x")), "m: the header is not JSON at its byte 4");
  EXPECT_EQ(message(file_of("{\"a\xFF\":{}}")), "m: the header is not JSON at its byte 4");
  EXPECT_EQ(message(file_of(std::string("{\0}", 3))), "m: the header is not JSON at its byte 2");
  EXPECT_EQ(of_tensor(R"("shape":[1e999])"), "m: the header is not JSON at its byte 20");
}

TEST(Safetensors, SaysWhatDoesNotBelongInTheHeader) {
  EXPECT_EQ(of_header(R"({"x":[]})"), "m: tensor \"x\": it is a list, not an object");
  EXPECT_EQ(of_header(R"({"x":7})"), "m: tensor \"x\": it is a number, not an object");
  EXPECT_EQ(of_header(R"({"x":null})"), "m: tensor \"x\": it is null, not an object");
  EXPECT_EQ(of_header(R"({"x":"y"})"), "m: tensor \"x\": it is a string, not an object");
  EXPECT_EQ(of_header(R"({"x":true})"), "m: tensor \"x\": it is a truth value, not an object");
  EXPECT_EQ(of_tensor(R"("dtype":4)"), "m: tensor \"x\": dtype is a number, not a string");
  EXPECT_EQ(of_tensor(R"("dtype":{})"), "m: tensor \"x\": dtype is an object, not a string");
  EXPECT_EQ(of_tensor(R"("dtype":["F32"])"), "m: tensor \"x\": dtype is a list, not a string");
  EXPECT_EQ(of_tensor(R"("shape":4)"), "m: tensor \"x\": shape is a number, not a list");
  EXPECT_EQ(of_tensor(R"("shape":[[2]])"), "m: tensor \"x\": shape holds a list");
  EXPECT_EQ(of_tensor(R"("shape":["2"])"), "m: tensor \"x\": shape holds a string");
  EXPECT_EQ(of_tensor(R"("shape":[{"a":2}])"), "m: tensor \"x\": shape holds an object");
  EXPECT_EQ(of_tensor(R"("shape":[-2])"), "m: tensor \"x\": shape holds the negative number -2");
  EXPECT_EQ(of_tensor(R"("shape":[2.0])"),
            "m: tensor \"x\": shape holds the number 2.0, no whole one of at most 64 bits");
  EXPECT_EQ(of_tensor(R"("shape":[18446744073709551616])"),
            "m: tensor \"x\": shape holds the number 18446744073709551616, no whole one of at most "
            "64 bits");
  EXPECT_EQ(of_tensor(R"("shape":[1,1,1,1,1,1,1,1,1])"),
            "m: tensor \"x\": it has more than 8 dimensions");
  EXPECT_EQ(of_tensor(R"("data_offsets":[0,4,8])"),
            "m: tensor \"x\": data_offsets has more than two numbers");
  EXPECT_EQ(of_tensor(R"("size":4)"),
            "m: tensor \"x\": it has a field \"size\" that the format does not know");
  EXPECT_EQ(of_tensor(R"("dtype":"F32","dtype":"F32")"), "m: tensor \"x\": dtype is given twice");
  EXPECT_EQ(of_header(R"({"__metadata__":{"a":1}})"),
            "m: tensor \"__metadata__\": \"a\" is a number, not a string");
  EXPECT_EQ(of_header(R"({"__metadata__":{"shape":[1]}})"),
            "m: tensor \"__metadata__\": \"shape\" is a list, not a string");
  EXPECT_EQ(of_header(R"({"__metadata__":{"a":"","a":""}})"),
            "m: tensor \"__metadata__\": \"a\" is given twice");
  EXPECT_EQ(of_header(R"({"__metadata__":{},"__metadata__":{}})"),
            "m: tensor \"__metadata__\": it is given twice");
}

TEST(Safetensors, SaysWhatIsMissingInATensor) {
  EXPECT_EQ(of_tensor(""), "m: tensor \"x\": dtype is missing");
  EXPECT_EQ(of_tensor(R"("dtype":"F32")"), "m: tensor \"x\": shape is missing");
  EXPECT_EQ(of_tensor(R"("dtype":"F32","shape":[2])"), "m: tensor \"x\": data_offsets is missing");
  EXPECT_EQ(of_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0])"),
            "m: tensor \"x\": data_offsets has fewer than two numbers");
}

/// F32 x of a shape at an offset, in 8 bytes of data.
std::string of_layout(const std::string& shape, const std::string& offsets) {
  return of_tensor("\"dtype\":\"F32\",\"shape\":" + shape + ",\"data_offsets\":" + offsets);
}

TEST(Safetensors, SaysWhichTensorDoesNotFitItsBytes) {
  EXPECT_EQ(of_layout("[2]", "[8,0]"), "m: tensor \"x\": data_offsets [8,0] end before they begin");
  EXPECT_EQ(of_layout("[3]", "[0,12]"),
            "m: tensor \"x\": it ends at byte 12 of the data, which has 8 (is the file cut off?)");
  EXPECT_EQ(
      of_layout("[2]", "[18446744073709551608,18446744073709551615]"),
      "m: tensor \"x\": it ends at byte 18446744073709551615 of the data, which has 8 (is the "
      "file cut off?)");
  EXPECT_EQ(of_layout("[3]", "[0,8]"),
            "m: tensor \"x\": data_offsets [0,8] hold 8 bytes but F32 [3] takes 12");
  EXPECT_EQ(of_layout("[4294967296,4294967296]", "[0,8]"),
            "m: tensor \"x\": shape [4294967296,4294967296] has more elements than 64 bits can "
            "count");
  // 2^62 elements of four bytes are 0 modulo 2^64.
  EXPECT_EQ(
      of_layout("[4611686018427387904]", "[0,0]"),
      "m: tensor \"x\": shape [4611686018427387904] has more elements than 64 bits can count");
  EXPECT_EQ(of_layout("[0,9223372036854775808]", "[0,0]"),
            "m: tensor \"x\": shape [0,9223372036854775808] has more elements than 64 bits can "
            "count");
  EXPECT_EQ(of_tensor(R"("dtype":"F31","shape":[2],"data_offsets":[0,8])"),
            "m: tensor \"x\": unknown dtype \"F31\"");
}

std::string two_tensors(const std::string& first, const std::string& second) {
  const std::string begin = R"({"dtype":"U8","shape":[4],"data_offsets":)";
  return of_header("{\"x\":" + begin + first + "},\"y\":" + begin + second + "}}");
}

TEST(Safetensors, SaysWhereTensorsOverlapOrLeaveAGap) {
  EXPECT_EQ(two_tensors("[0,4]", "[4,8]"), "nothing was thrown");
  EXPECT_EQ(two_tensors("[4,8]", "[0,4]"), "nothing was thrown");
  EXPECT_EQ(two_tensors("[0,4]", "[3,7]"),
            "m: tensor \"y\": it begins at byte 3 of the data but the one before it ends at byte 4 "
            "(neither gaps nor overlap allowed)");
  EXPECT_EQ(two_tensors("[0,4]", "[0,4]"),
            "m: tensor \"y\": it begins at byte 0 of the data but the one before it ends at byte 4 "
            "(neither gaps nor overlap allowed)");
  EXPECT_EQ(two_tensors("[1,5]", "[4,8]"),
            "m: tensor \"x\": it begins at byte 1 of the data but the one before it ends at byte 0 "
            "(neither gaps nor overlap allowed)");
  EXPECT_EQ(of_tensor(R"("dtype":"U8","shape":[4],"data_offsets":[0,4])"),
            "m: 4 bytes follow the last tensor");
}

TEST(Safetensors, MessagesAreShortAndHoldNoControlCharacters) {
  const std::string text = of_header("{\"" + std::string(5000, 'n') + "\":7}");
  EXPECT_LT(text.size(), 200u);
  EXPECT_EQ(of_header("{\"\\u001b[2J\":7}"),
            "m: tensor \"\\u001b[2J\": it is a number, not an object");
}

TEST(Safetensors, DeepNestingIsRefusedAtOnce) {
  std::string header = "{\"x\":";
  for (int i = 0; i < 1'000'000; ++i) header += '[';
  EXPECT_EQ(message(file_of(header)), "m: tensor \"x\": it is a list, not an object");
}

TEST(Safetensors, RefusesAMatrixThatTheModelCannotUse) {
  const std::string file = file_of(R"({"f":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
                                   R"("i":{"dtype":"F16","shape":[1],"data_offsets":[8,10]},)"
                                   R"("t":{"dtype":"F32","shape":[1,1,0],"data_offsets":[10,10]}})",
                                   "0123456789");
  const safetensors s = read(file);
  EXPECT_EQ(message_of<model_error>([&] { (void)s.matrix("g"); }),
            "m: tensor \"g\": it is not in the file");
  EXPECT_EQ(message_of<model_error>([&] { (void)s.matrix("i"); }),
            "m: tensor \"i\": it is F16, only F32 is read as a matrix");
  EXPECT_EQ(message_of<model_error>([&] { (void)s.matrix("t"); }),
            "m: tensor \"t\": shape [1,1,0] is not that of a matrix");
  EXPECT_EQ(message_of<model_error>([&] { (void)s.matrix("f", 1, 2); }),
            "m: tensor \"f\": it is 2x1 but the model needs 1x2");
}

class SafetensorsFile : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("softlook_safetensors_") + info->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "m.safetensors";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string message() const {
    return message_of<model_error>([&] { safetensors{path_}; });
  }

  std::filesystem::path folder_, path_;
};

TEST_F(SafetensorsFile, IsMapped) {
  std::ofstream(path_, std::ios::binary) << file_of(good, bytes_of(values));
  safetensors first(path_);
  const safetensors s = std::move(first);
  EXPECT_EQ(s.matrix("a")(1, 0), 4);
}

TEST_F(SafetensorsFile, IsNamedInMessages) {
  EXPECT_EQ(message(), path_.string() + ": the file cannot be opened");
  std::ofstream(path_, std::ios::binary) << "";
  EXPECT_EQ(message(), path_.string() + ": the file has 0 bytes, the length of the header takes 8");
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  EXPECT_EQ(message(), path_.string() + ": this is not a regular file");
}

TEST_F(SafetensorsFile, CutAnywhereIsRefused) {
  const std::string whole = file_of(good, bytes_of(values));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    std::ofstream(path_, std::ios::binary) << whole.substr(0, length);
    EXPECT_NE(message(), "nothing was thrown") << length;
  }
}

}  // namespace
}  // namespace safetensors_test
