#include "examples/translator/marian_file.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "examples/support/files.hpp"
#include "tests/support/errors.hpp"

namespace marian_file_test {
namespace {

using softlook_test::message_of;
using translator::float_matrix;
using translator::marian_file;
using translator::model_error;

template <class Number>
std::string bytes_of(Number value) {
  std::string out(sizeof value, '\0');
  examples::put_number(value, reinterpret_cast<std::byte*>(out.data()));
  return out;
}
std::string number(std::uint64_t value) { return bytes_of(value); }

struct item {
  std::string name;
  std::uint64_t type;
  std::vector<std::int32_t> shape;
  std::string data;
};

std::string file_of(const std::vector<item>& items, const std::string& gap = "",
                    const std::string& end = "") {
  std::string headers = number(1) + number(items.size()), names, shapes, data;
  for (const item& i : items) {
    headers +=
        number(i.name.size() + 1) + number(i.type) + number(i.shape.size()) + number(i.data.size());
    names += i.name + '\0';
    for (const std::int32_t extent : i.shape) shapes += bytes_of(extent);
    data += i.data;
  }
  return headers + names + shapes + number(gap.size()) + gap + data + end;
}

constexpr std::uint64_t text = 0x0101, float32 = 0x0404, integers = 0x4101;

std::string floats(std::initializer_list<float> values) {
  std::string out;
  for (const float x : values) out += bytes_of(x);
  return out;
}
std::string whole(std::initializer_list<int> values, float scale) {
  std::string out;
  for (const int x : values) out += static_cast<char>(x);
  return out + bytes_of(scale);
}

marian_file read(const std::string& file) {
  const auto bytes = std::as_bytes(std::span(file));
  return {{bytes.begin(), bytes.end()}, "m"};
}

std::string message(const std::string& file) {
  return message_of<model_error>([&] { read(file); });
}

const std::vector<item> good = {{"b", float32, {1, 3}, floats({1, 2, 3})},
                                {"W", integers, {2, 3}, whole({1, -2, 3, -4, 5, 127}, 2) + "fill"},
                                {"special:model.yml", text, {12}, std::string("type: x\0   ", 12)}};

TEST(MarianFile, GivesFloatsIntegersAndText) {
  for (const std::string gap : {"", "g", "padding"}) {
    const marian_file f = read(file_of(good, gap));
    EXPECT_EQ(f.items().size(), 3u);
    EXPECT_EQ(f.floats("b", 1, 3), (float_matrix(1, 3) << 1, 2, 3).finished());
    EXPECT_EQ(f.size("W"), std::pair(Eigen::Index{2}, Eigen::Index{3}));
    const auto columns = f.integers("W", 2, 3);
    EXPECT_EQ(columns.scale, 2);
    EXPECT_EQ(columns.real(), (Eigen::MatrixXf(2, 3) << 0.5, 1.5, 2.5, -1, -2, 63.5).finished());
    const auto rows = f.integers("W", 2, 3, marian_file::order::by_rows);
    EXPECT_EQ(rows.real(), (Eigen::MatrixXf(2, 3) << 0.5, -1, 1.5, -2, 2.5, 63.5).finished());
    EXPECT_EQ(f.text("special:model.yml"), "type: x");
    EXPECT_TRUE(f.has("W"));
    EXPECT_FALSE(f.has("w"));
  }
}

TEST(MarianFile, PointsIntoItselfAfterAMove) {
  marian_file first = read(file_of(good));
  const auto* at = first.item("W").bytes.data();
  const marian_file second = std::move(first);
  EXPECT_EQ(second.item("W").bytes.data(), at);
  EXPECT_EQ(second.floats("b", 1, 3)(0, 2), 3);
}

TEST(MarianFile, TakesNoItemsEmptyOnesAndTypesItDoesNotKnow) {
  EXPECT_TRUE(read(file_of({})).items().empty());
  const marian_file f =
      read(file_of({{"none", float32, {0, 7}, ""}, {"other", 77, {1000, 1000}, "abc"}}));
  EXPECT_EQ(f.floats("none", 0, 7).rows(), 0);
  EXPECT_EQ(f.item("other").bytes.size(), 3u);
}

TEST(MarianFile, SaysWhatIsWrongWithTheFile) {
  EXPECT_EQ(message(""), "m: the version takes 8 bytes but only 0 are left (is the file cut off?)");
  EXPECT_EQ(message(number(2) + number(0)),
            "m: the version is 2, only 1 is known (is this a Marian file?)");
  EXPECT_EQ(message(number(1) + number(std::numeric_limits<std::uint64_t>::max())),
            "m: there should be 18446744073709551615 items but only 0 bytes follow (is the file "
            "cut off?)");
  EXPECT_EQ(message(file_of(good, "", "abc")), "m: 3 bytes follow the last item");
  EXPECT_EQ(message(file_of({good[0], good[0]})), "m: item \"b\": it is given twice");
  const std::string file = file_of(good);
  for (std::size_t length = 0; length < file.size(); ++length)
    EXPECT_NE(message(file.substr(0, length)), "nothing was thrown") << length;
}

TEST(MarianFile, SaysWhatIsWrongWithAnItem) {
  EXPECT_EQ(message(file_of({{"b", float32, {1, 4}, floats({1, 2, 3})}})),
            "m: item \"b\": shape [1x4] takes 16 bytes but it has 12");
  EXPECT_EQ(message(file_of({{"W", integers, {2, 2}, "1234567"}})),
            "m: item \"W\": shape [2x2] takes 8 bytes but it has 7");
  EXPECT_EQ(message(file_of({{"b", float32, {1, -4}, ""}})), "m: item \"b\": an extent is -4");
  EXPECT_EQ(message(file_of({{"b", float32, std::vector<std::int32_t>(9, 1), "1234"}})),
            "m: item \"b\": it has 9 extents, more than the 8 allowed");
  const std::int32_t most = std::numeric_limits<std::int32_t>::max();
  EXPECT_EQ(message(file_of({{"b", float32, {most, most, most}, ""}})),
            "m: item \"b\": shape [2147483647x2147483647x2147483647] has more elements than 64 "
            "bits count");
  // 2^62 floats have 2^64 bytes, which is not 0.
  const std::int32_t huge = 1 << 21;
  EXPECT_EQ(message(file_of({{"b", float32, {huge, huge, 1 << 20}, ""}})),
            "m: item \"b\": shape [2097152x2097152x1048576] takes 18446744073709551615 bytes but "
            "it has 0");
}

TEST(MarianFile, SaysWhenAnItemIsNotWhatTheModelNeeds) {
  const marian_file f = read(file_of({good[0],
                                      good[1],
                                      good[2],
                                      {"zero", integers, {1, 1}, whole({1}, 0)},
                                      {"x\ny", float32, {3}, floats({1, 2, 3})}}));
  const auto of = [&](const char* name, Eigen::Index rows, Eigen::Index cols) {
    return message_of<model_error>([&] { (void)f.floats(name, rows, cols); });
  };
  EXPECT_EQ(of("c", 1, 3), "m: item \"c\": it is not in the file");
  EXPECT_EQ(of("b", 3, 1), "m: item \"b\": it is 1x3 but the model needs 3x1");
  EXPECT_EQ(of("W", 2, 3), "m: item \"W\": its type is 16641, the model needs 1028");
  EXPECT_EQ(of("x\ny", 1, 3), "m: item \"x?y\": shape [3] is not of a matrix");
  EXPECT_EQ(message_of<model_error>([&] { (void)f.integers("zero", 1, 1); }),
            "m: item \"zero\": its scale is 0.000000, not a positive number");
  EXPECT_EQ(message_of<model_error>([&] { (void)f.text("b"); }),
            "m: item \"b\": its type is 1028, not of text");
}

TEST(MarianFile, SaysWhichFileItCannotRead) {
  EXPECT_EQ(message_of<model_error>([] { marian_file(std::filesystem::path("/there/is/no/m")); }),
            "/there/is/no/m: the file cannot be opened");
  EXPECT_EQ(message_of<model_error>([] { marian_file(std::filesystem::path("/")); }),
            "/: this is not a regular file");
}

}  // namespace
}  // namespace marian_file_test
