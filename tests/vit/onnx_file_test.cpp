#include "examples/vit/onnx_file.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>

#include "examples/support/files.hpp"
#include "tests/support/errors.hpp"

namespace onnx_file_test {
namespace {

using softlook_test::message_of;
using vit::model_error;
using vit::onnx_file;

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}

std::string number(unsigned field, std::uint64_t value) {
  return varint(field << 3) + varint(value);
}
std::string text(unsigned field, const std::string& content) {
  return varint(field << 3 | 2) + varint(content.size()) + content;
}
std::string graph(const std::string& content) { return text(7, content); }

std::string bytes_of(const std::vector<float>& values) {
  std::string out(values.size() * sizeof(float), '\0');
  for (std::size_t k = 0; k < values.size(); ++k)
    examples::put_number(values[k], reinterpret_cast<std::byte*>(out.data()) + k * sizeof(float));
  return out;
}

/// A tensor whose bytes follow its dimensions.
std::string tensor(const std::string& name, const vit::shape& dims, const std::string& data,
                   std::uint64_t type = 1) {
  std::string out;
  for (const std::uint64_t extent : dims) out += number(1, extent);
  return text(5, out + number(2, type) + text(8, name) + text(9, data));
}

onnx_file read(std::string_view file) { return {std::as_bytes(std::span(file)), "m"}; }

std::string message(std::string_view file) {
  return message_of<model_error>([&] { read(file); });
}
std::string of_tensor(const std::string& content) { return message(graph(text(5, content))); }

const std::vector<float> values = {1, 2, 3, 4, 5, 6};
const std::string good = number(1, 7) + text(2, "exporter") +
                         graph(text(1, text(1, "x") + text(1, "w") + text(2, "y") +
                                           text(3, "/first/MatMul") + text(4, "MatMul")) +
                               text(2, "a graph") + tensor("w", {2, 3}, bytes_of(values)));

TEST(OnnxFile, GivesTensorsAndTheInputsOfNodes) {
  const onnx_file file = read(good);
  vit::float_matrix w(2, 3);
  w << 1, 2, 3, 4, 5, 6;
  EXPECT_EQ(file.matrix("w", {2, 3}, 2), w);
  EXPECT_EQ(file.matrix("w", {2, 3}), w.reshaped<Eigen::RowMajor>().transpose());
  EXPECT_EQ(file.input("/first/MatMul", 1), "w");
  EXPECT_EQ(file.tensors().size(), 1u);
  EXPECT_EQ(file.nodes().size(), 1u);
}

TEST(OnnxFile, ReadsFloatsFromAnyAddress) {
  for (std::size_t shift = 0; shift < 4; ++shift) {
    const std::string moved = std::string(shift, ' ') + good;
    onnx_file first = read(std::string_view(moved).substr(shift));
    const onnx_file file = std::move(first);
    EXPECT_EQ(file.matrix("w", {2, 3}, 2)(1, 2), 6);
  }
}

TEST(OnnxFile, TakesPackedDimensionsScalarsAndEmptyTensors) {
  const std::string packed = text(
      5, text(1, varint(2) + varint(3)) + number(2, 1) + text(8, "p") + text(9, bytes_of(values)));
  const std::string file = graph(packed + tensor("one", {}, bytes_of({7})) +
                                 tensor("none", {0, 3}, "") + tensor("i", {1}, "12345678", 7));
  const onnx_file f = read(file);
  EXPECT_EQ(f.matrix("p", {2, 3}, 2)(0, 1), 2);
  EXPECT_EQ(f.matrix("one", {})(0, 0), 7);
  EXPECT_EQ(f.matrix("none", {0, 3}).size(), 0);
  EXPECT_EQ(f.tensors().at("i").bytes.size(), 8u);
}

TEST(OnnxFile, SkipsWhatItDoesNotKnow) {
  const std::string unknown = number(100, 1) + text(101, "text") + varint(102 << 3 | 1) +
                              "12345678" + varint(103 << 3 | 5) + "1234";
  EXPECT_EQ(message(unknown + graph(unknown + text(5, unknown + text(8, "t"))) + unknown),
            "nothing was thrown");
}

TEST(OnnxFile, SaysWhatIsWrongWithTheFile) {
  const std::string no = "m: this is not an ONNX file: ";
  EXPECT_EQ(message(""), no + "it has no graph");
  EXPECT_EQ(message("\x3A"), no + "at byte 1 of a message there is a number that is cut off");
  EXPECT_EQ(message("\x3A\x05"),
            no + "at byte 2 of a message there is a field that is longer than what follows (is the "
                 "file cut off?)");
  EXPECT_EQ(message("\x39" + std::string(7, 'x')),
            no + "at byte 1 of a message there is a field that is longer than what follows (is the "
                 "file cut off?)");
  EXPECT_EQ(message(std::string(2, '\0')),
            no + "at byte 0 of a message there is no number of a field");
  EXPECT_EQ(message("\x3B"),
            no + "at byte 0 of a message there is a kind of field that ONNX does not use");
  EXPECT_EQ(message(varint(1ull << 32)),
            no + "at byte 0 of a message there is no number of a field");
  EXPECT_EQ(message(std::string(11, '\xFF')),
            no + "at byte 0 of a message there is a number of more than 64 bits");
  EXPECT_EQ(message("\x08" + std::string(9, '\xFF') + "\x02"),
            no + "at byte 1 of a message there is a number of more than 64 bits");
  EXPECT_EQ(message("\x08" + std::string(9, '\xFF') + "\x01"), no + "it has no graph");
  EXPECT_EQ(message("\x3A" + varint(std::numeric_limits<std::uint64_t>::max())),
            no +
                "at byte 11 of a message there is a field that is longer than what follows (is the "
                "file cut off?)");
  EXPECT_EQ(message(graph("") + graph("")), no + "at byte 0 of a message there is a second graph");
}

TEST(OnnxFile, SaysWhichTensorDoesNotFitItsBytes) {
  const std::string t = text(8, "t"), data = text(9, "12345678"), floats = number(2, 1);
  EXPECT_EQ(of_tensor(number(1, 3) + floats + t + data),
            "m: tensor \"t\": it has 8 bytes but type 1 [3] takes 12");
  EXPECT_EQ(of_tensor(number(1, 1ull << 32) + number(1, 1ull << 32) + floats + t + data),
            "m: tensor \"t\": dimensions [4294967296,4294967296] are more than 64 bits can count");
  // 2^62 elements of four bytes are 0 modulo 2^64.
  EXPECT_EQ(of_tensor(number(1, 1ull << 62) + floats + t + text(9, "")),
            "m: tensor \"t\": dimensions [4611686018427387904] are more than 64 bits can count");
  EXPECT_EQ(of_tensor(number(1, ~0ull) + floats + t + data),
            "m: this is not an ONNX file: at byte 0 of a message there is a negative dimension");
  std::string nine;
  for (int i = 0; i < 9; ++i) nine += number(1, 1);
  EXPECT_EQ(of_tensor(nine + t),
            "m: this is not an ONNX file: at byte 0 of a message there is more than 8 dimensions");
  EXPECT_EQ(of_tensor(number(1, 8) + number(2, 99) + t + data),
            "m: tensor \"t\": data type 99 has no size that is known here");
}

TEST(OnnxFile, SaysWhatIsGivenTwice) {
  const std::string t = tensor("t", {0}, "");
  EXPECT_EQ(message(graph(t + t)), "m: tensor \"t\": it is given twice");
  const std::string n = text(1, text(3, "n"));
  EXPECT_EQ(message(graph(n + n)), "m: node \"n\": it is given twice");
  // Nodes need no name.
  EXPECT_EQ(message(graph(text(1, "") + text(1, ""))), "nothing was thrown");
}

TEST(OnnxFile, MessagesAreShortAndHoldNoControlCharacters) {
  const auto given_twice = [](const std::string& name) {
    const std::string t = tensor(name, {0}, "");
    return message(graph(t + t));
  };
  EXPECT_LT(given_twice(std::string(5000, 'n')).size(), 200u);
  EXPECT_EQ(given_twice("\x1B[2J\"\xFF"), "m: tensor \"\\x1b[2J\\x22\\xff\": it is given twice");
}

TEST(OnnxFile, RefusesWhatTheModelCannotUse) {
  const std::string elsewhere =
      text(5, number(1, 2) + number(2, 1) + text(4, bytes_of({1, 2})) + text(8, "list"));
  // 2^62 floats are 0 bytes modulo 2^64, and it has none.
  const std::string wrapping = text(5, number(1, 1ull << 62) + number(2, 1) + text(8, "wrapping"));
  const std::string bytes =
      graph(wrapping + tensor("w", {2, 3}, bytes_of(values)) + tensor("i", {1}, "12345678", 7) +
            elsewhere + text(1, text(1, "w") + text(3, "n")));
  const onnx_file f = read(bytes);
  const auto of_matrix = [&](const char* name, const vit::shape& dims, Eigen::Index rows = 1) {
    return message_of<model_error>([&] { (void)f.matrix(name, dims, rows); });
  };
  EXPECT_EQ(of_matrix("v", {2}), "m: tensor \"v\": it is not in the file");
  EXPECT_EQ(of_matrix("w", {3, 2}), "m: tensor \"w\": it is [2,3] but the model needs [3,2]");
  EXPECT_EQ(of_matrix("w", {2, 3}, 4), "m: tensor \"w\": 6 numbers are not 4 rows of one length");
  EXPECT_EQ(of_matrix("w", {2, 3}, 0), "m: tensor \"w\": 6 numbers are not 0 rows of one length");
  EXPECT_EQ(of_matrix("i", {1}),
            "m: tensor \"i\": it is of data type 7, only floats (1) are read as a matrix");
  EXPECT_EQ(of_matrix("list", {2}), "m: tensor \"list\": its numbers are not kept as raw_data");
  EXPECT_EQ(of_matrix("wrapping", {1ull << 62}),
            "m: tensor \"wrapping\": its numbers are not kept as raw_data");
  EXPECT_EQ(message_of<model_error>([&] { (void)f.input("m", 0); }),
            "m: node \"m\": it is not in the file");
  EXPECT_EQ(message_of<model_error>([&] { (void)f.input("n", 1); }),
            "m: node \"n\": it has 1 inputs, input 1 counted from 0 is needed");
}

TEST(OnnxFile, IsNamedInMessagesAndCutAnywhereIsRefused) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / "softlook_onnx_file";
  fs::remove_all(folder);
  fs::create_directories(folder);
  const fs::path path = folder / "m.onnx";
  const auto message = [&] { return message_of<model_error>([&] { onnx_file{path}; }); };
  EXPECT_EQ(message(), path.string() + ": the file cannot be opened");
  for (std::size_t length = 0; length < good.size(); ++length) {
    std::ofstream(path, std::ios::binary) << good.substr(0, length);
    EXPECT_NE(message(), "nothing was thrown") << length;
  }
  std::ofstream(path, std::ios::binary) << good;
  onnx_file first(path);
  const onnx_file file = std::move(first);
  EXPECT_EQ(file.matrix("w", {2, 3}, 2)(1, 0), 4);
  EXPECT_EQ(file.input("/first/MatMul", 0), "x");
  fs::remove(path);
  fs::create_directory(path);
  EXPECT_EQ(message(), path.string() + ": this is not a regular file");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace onnx_file_test
