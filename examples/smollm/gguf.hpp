#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "examples/support/model_error.hpp"

namespace smollm {

using examples::model_error;

using float_matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// How the numbers of a tensor are stored: one by one, or in blocks of 32 along a row with a scale
/// d, and in q4_1 a least value m, of 16 bits each:
///   q4_1  d·q + m, q of 4 bits without sign, numbers 0 to 15 in the lower halves of the bytes
///   q8_0  d·q, q of 8 bits with sign
enum class tensor_type : std::uint32_t { f32 = 0, f16 = 1, q4_1 = 3, q8_0 = 8 };

const char* name_of(tensor_type type);

/// A tensor of a file, row-major: of `shape` the first number is the length of a row.
struct gguf_tensor {
  tensor_type type;
  std::vector<std::uint64_t> shape;
  std::span<const std::byte> bytes;
};

/// A list of a file that holds no texts: numbers as their bytes.
struct gguf_list {
  std::uint32_t type = 0;
  std::size_t count = 0;
  std::span<const std::byte> bytes;
};

/// A value of a file's metadata: a whole number, a number, a truth value, a text, a list of texts,
/// a list of numbers. Texts are views of the file.
using gguf_value = std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view,
                                std::vector<std::string_view>, gguf_list>;

/// A GGUF file of version 3: metadata by name, where each tensor lies, then the tensors.
///
/// \see docs/gguf.md in the repository ggml-org/ggml; ggml-common.h for the blocks.
/// Whatever the bytes are, either all tensors lie inside the file, none over another, each as large
/// as its type and shape ask for, or the constructor throws. It takes memory for what the file
/// holds, not for what it announces.
class gguf {
 public:
  /// Maps the file into memory, so only what is used is read; nobody may shorten the file
  /// meanwhile.
  /// \throws model_error
  explicit gguf(const std::filesystem::path& file);

  /// Reads bytes that outlive this object; `name` stands for the file in messages.
  /// \throws model_error
  gguf(std::span<const std::byte> bytes, std::string name);

  const std::string& name() const { return name_; }
  const std::map<std::string, gguf_value, std::less<>>& values() const { return values_; }
  const std::map<std::string, gguf_tensor, std::less<>>& tensors() const { return tensors_; }

  /// \throws model_error  if there is no such value, or of another kind, or a number beyond most.
  std::uint64_t natural(std::string_view key, std::uint64_t most) const;
  double number(std::string_view key) const;
  std::string_view text(std::string_view key) const;
  const std::vector<std::string_view>& texts(std::string_view key) const;
  /// A list of whole numbers of 32 bits.
  std::vector<std::int32_t> numbers(std::string_view key) const;

  /// \throws model_error  if there is no such tensor.
  const gguf_tensor& tensor(std::string_view name) const;

  /// The tensor as numbers. \throws model_error  unless it is rows × cols.
  float_matrix matrix(std::string_view name, Eigen::Index rows, Eigen::Index cols) const;

  /// Some rows of a tensor of two dimensions, into rows of a matrix; numbers outside it are
  /// refused.
  /// \throws model_error, std::out_of_range
  void rows_into(std::string_view name, std::span<const int> rows, float_matrix& to) const;

 private:
  class reader;
  void read(std::span<const std::byte> file);
  template <class V>
  const V& value(std::string_view key, const char* kind) const;
  [[noreturn]] void fail(std::string_view what, const std::string& why) const;

  std::string name_;
  std::shared_ptr<const std::byte> mapping_;
  std::map<std::string, gguf_value, std::less<>> values_;
  std::map<std::string, gguf_tensor, std::less<>> tensors_;
};

}  // namespace smollm
