#include "examples/smollm/gguf.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "tests/smollm/file.hpp"

namespace smollm::gguf_test {
namespace {

using smollm_test::byte_string;
using smollm_test::file_writer;

/// The message of a file that is refused; empty if it is read.
std::string refusal(std::span<const std::byte> bytes) {
  try {
    const gguf file(bytes, "it");
  } catch (const model_error& e) {
    return e.what();
  }
  return {};
}
std::string refusal(const file_writer& w) { return refusal(w.file()); }

bool has(const std::string& text, const std::string& piece) {
  return text.find(piece) != std::string::npos;
}
#define EXPECT_HAS(text, piece) EXPECT_TRUE(has(text, piece)) << (text)

std::uint16_t half_bits(float x) {
  return Eigen::numext::bit_cast<std::uint16_t>(static_cast<Eigen::half>(x));
}

TEST(Gguf, ReadsValuesOfEveryKind) {
  file_writer w;
  w.value("u8", 0, std::uint8_t{200});
  w.value("i8", 1, std::int8_t{-3});
  w.value("u16", 2, std::uint16_t{60000});
  w.value("i16", 3, std::int16_t{-300});
  w.value("u32", 4, std::uint32_t{4000000000U});
  w.value("i32", 5, std::int32_t{7});
  w.value("f32", 6, 0.5f);
  w.value("bool", 7, std::uint8_t{1});
  w.text("text", "some text");
  w.texts("texts", {"a", "", "ccc"});
  w.numbers("numbers", {1, -2, 3});
  w.value("u64", 10, std::uint64_t{1} << 40U);
  w.value("i64", 11, std::int64_t{-5});
  w.value("f64", 12, 0.25);
  const auto bytes = w.file();
  const gguf file(bytes, "it");
  EXPECT_EQ(file.values().size(), 14u);
  EXPECT_EQ(file.natural("u8", 255), 200u);
  EXPECT_EQ(file.natural("u16", 65535), 60000u);
  EXPECT_EQ(file.natural("u32", 4000000000U), 4000000000U);
  EXPECT_EQ(file.natural("i32", 7), 7u);
  EXPECT_EQ(file.natural("u64", std::uint64_t{1} << 40U), std::uint64_t{1} << 40U);
  EXPECT_EQ(file.number("f32"), 0.5);
  EXPECT_EQ(file.number("f64"), 0.25);
  EXPECT_EQ(file.text("text"), "some text");
  EXPECT_EQ(file.texts("texts"), (std::vector<std::string_view>{"a", "", "ccc"}));
  EXPECT_EQ(file.numbers("numbers"), (std::vector<std::int32_t>{1, -2, 3}));
  EXPECT_TRUE(std::get<bool>(file.values().find("bool")->second));
  EXPECT_EQ(std::get<std::int64_t>(file.values().find("i8")->second), -3);
  EXPECT_THROW((void)file.natural("i64", 10), model_error);
  EXPECT_THROW((void)file.natural("u8", 199), model_error);
  EXPECT_THROW((void)file.natural("f32", 10), model_error);
  EXPECT_THROW((void)file.number("text"), model_error);
  EXPECT_THROW((void)file.text("nothing"), model_error);
  EXPECT_THROW((void)file.numbers("texts"), model_error);
}

TEST(Gguf, WidensNumbersOfEveryKind) {
  file_writer w;
  w.floats("f32", {3, 2}, {1, 2, 3, 4, 5, 6});
  byte_string halves;
  for (const float x : {0.5f, -2.0f, 65504.0f, 5.9604645e-8f}) halves.add(half_bits(x));
  w.tensor("f16", {4}, 1, halves);
  byte_string q8;  // two rows of a block each
  for (int row = 0; row < 2; ++row) {
    q8.add(half_bits(row == 0 ? 0.5f : -0.25f));
    for (int k = 0; k < 32; ++k) q8.add(static_cast<std::int8_t>(8 * k - 128 + row));
  }
  w.tensor("q8_0", {32, 2}, 8, q8);
  byte_string q4;
  q4.add(half_bits(0.125f)).add(half_bits(-1.0f));
  for (int k = 0; k < 16; ++k) q4.add(static_cast<std::uint8_t>(k | (15 - k) << 4));
  w.tensor("q4_1", {32, 1}, 3, q4);
  const auto bytes = w.file();
  const gguf file(bytes, "it");

  const float_matrix f32 = file.matrix("f32", 2, 3);
  EXPECT_EQ(f32(0, 2), 3);
  EXPECT_EQ(f32(1, 0), 4);
  const float_matrix f16 = file.matrix("f16", 1, 4);
  EXPECT_EQ(f16(0, 0), 0.5f);
  EXPECT_EQ(f16(0, 1), -2.0f);
  EXPECT_EQ(f16(0, 2), 65504.0f);
  EXPECT_EQ(f16(0, 3), 5.9604645e-8f);
  const float_matrix q8_0 = file.matrix("q8_0", 2, 32);
  for (int k = 0; k < 32; ++k) {
    EXPECT_EQ(q8_0(0, k), 0.5f * float(8 * k - 128));
    EXPECT_EQ(q8_0(1, k), -0.25f * float(8 * k - 127));
  }
  const float_matrix q4_1 = file.matrix("q4_1", 1, 32);
  for (int k = 0; k < 16; ++k) {
    EXPECT_EQ(q4_1(0, k), 0.125f * float(k) - 1);
    EXPECT_EQ(q4_1(0, k + 16), 0.125f * float(15 - k) - 1);
  }
  float_matrix rows;
  const int chosen[] = {1, 0, 1};
  file.rows_into("q8_0", chosen, rows);
  ASSERT_EQ(rows.rows(), 3);
  EXPECT_EQ(rows.row(0), q8_0.row(1));
  EXPECT_EQ(rows.row(1), q8_0.row(0));
  const int outside[] = {2}, negative[] = {-1};
  EXPECT_THROW(file.rows_into("q8_0", outside, rows), std::out_of_range);
  EXPECT_THROW(file.rows_into("q8_0", negative, rows), std::out_of_range);
  EXPECT_THROW((void)file.matrix("f32", 3, 2), model_error);
  EXPECT_THROW((void)file.matrix("none", 3, 2), model_error);
}

TEST(Gguf, RefusesWhatIsNoSuchFile) {
  EXPECT_HAS(refusal(std::span<const std::byte>{}), "does not begin with GGUF");
  EXPECT_HAS(refusal(byte_string().raw("GGML").add(3).span()), "does not begin with GGUF");
  file_writer w;
  w.version = 2;
  EXPECT_HAS(refusal(w), "version is 2");
  w.version = 3;
  EXPECT_EQ(refusal(w), "");
  EXPECT_HAS(refusal(byte_string().raw("GGUF").add(3U).add(1ULL << 63U).add(0ULL).span()),
             "(is the file cut off?)");
  EXPECT_HAS(refusal(byte_string().raw("GGUF").add(3U).add(0ULL).add(1ULL).add(~0ULL).span()),
             "needs 18446744073709551615 bytes");
}

TEST(Gguf, EveryBeginningOfAFileIsRefused) {
  file_writer w;
  w.text("text", "some text");
  w.texts("texts", {"a", "b"});
  w.numbers("numbers", {1, 2});
  w.floats("f32", {3, 2}, {1, 2, 3, 4, 5, 6});
  const auto bytes = w.file();
  ASSERT_EQ(refusal(bytes), "");
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_NE(refusal(std::span(bytes).first(size)), "") << size;
}

TEST(Gguf, RefusesBrokenValues) {
  const auto with = [](auto&& change) {
    file_writer w;
    change(w);
    return refusal(w);
  };
  EXPECT_HAS(with([](auto& w) { w.value("x", 13, 0); }), "kind 13 is not known");
  EXPECT_HAS(with([](auto& w) {
               w.text("x", "1");
               w.text("x", "2");
             }),
             "\"x\" is given twice");
  // A list of lists, and one that announces more than there is.
  EXPECT_HAS(with([](auto& w) { w.begin_list("x", 9, 1); }), "a list of kind 9");
  EXPECT_HAS(with([](auto& w) { w.begin_list("x", 8, 1ULL << 60U); }), "does not fit");
  EXPECT_HAS(with([](auto& w) { w.begin_list("x", 10, 1ULL << 61U); }), "does not fit");
  EXPECT_HAS(with([](auto& w) { w.value("general.alignment", 4, 24U); }), "not a power of two");
  EXPECT_HAS(with([](auto& w) { w.value("general.alignment", 4, 0U); }), "not a power of two");
  EXPECT_HAS(with([](auto& w) { w.value("general.alignment", 4, 1U << 30U); }), "more than");
}

TEST(Gguf, RefusesBrokenTensors) {
  const auto with = [](const std::vector<std::uint64_t>& shape, std::uint32_t type,
                       std::uint64_t offset) {
    file_writer w;
    w.floats("first", {8}, std::vector<float>(8));
    w.tensor_at("x", shape, type, offset);
    return refusal(w);
  };
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  EXPECT_HAS(with({8}, 0, 0), "\"x\": it lies over the tensor \"first\"");
  EXPECT_HAS(with({8}, 0, 32), "which has 32");
  EXPECT_HAS(with({8}, 0, 4), "not a multiple of 32");
  EXPECT_HAS(with({8}, 0, most - 31), "(is the file cut off?)");
  EXPECT_HAS(with({}, 0, 0), "0 dimensions");
  EXPECT_HAS(with({1, 1, 1, 1, 1}, 0, 0), "5 dimensions");
  EXPECT_HAS(with({1}, 2, 0), "type 2 is not known");
  EXPECT_HAS(with({33}, 8, 0), "blocks of 32");
  EXPECT_HAS(with({most}, 0, 0), "more numbers than");
  EXPECT_HAS(with({std::uint64_t{1} << 32U, std::uint64_t{1} << 32U}, 0, 0), "more numbers than");
  EXPECT_HAS(with({most, 0}, 0, 0), "more numbers than");
  EXPECT_EQ(with({0, 5}, 0, 0), "") << "nothing lies nowhere";
  file_writer twice;
  twice.floats("x", {1}, {1});
  twice.floats("x", {1}, {1});
  EXPECT_HAS(refusal(twice), "\"x\": it is given twice");
}

TEST(Gguf, MapsAFile) {
  file_writer w;
  w.floats("f32", {3}, {1, 2, 3});
  const auto bytes = w.file();
  const auto path = std::filesystem::path(testing::TempDir()) / "softlook_gguf_test.gguf";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  gguf moved = gguf(path);
  const gguf file = std::move(moved);
  EXPECT_EQ(file.matrix("f32", 1, 3)(0, 2), 3);
  std::filesystem::remove(path);
  EXPECT_THROW(gguf{path}, model_error);
  EXPECT_THROW(gguf{std::filesystem::path(testing::TempDir())}, model_error);
}

}  // namespace
}  // namespace smollm::gguf_test
