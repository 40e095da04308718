#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "examples/support/model_error.hpp"

namespace minilm {

using examples::model_error;

using float_matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A tensor of a file, row-major. dtype is written as in the file: "F32", "F16", "I64", …
struct raw_tensor {
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::span<const std::byte> bytes;
};

/// A safetensors file: eight bytes with the length of the header, the header, which is JSON and
/// says where each tensor lies, then the tensors.
///
/// \see the format's description in the repository huggingface/safetensors.
/// Whatever the bytes are, either all tensors lie inside the file, one after the other without gap
/// or overlap, each as large as its dtype and shape ask for, or the constructor throws.
class safetensors {
 public:
  /// Maps the file into memory, so only what is used is read; nobody may shorten the file
  /// meanwhile.
  /// \throws model_error
  explicit safetensors(const std::filesystem::path& file);

  /// Reads bytes that outlive this object; `name` stands for the file in messages.
  /// \throws model_error
  safetensors(std::span<const std::byte> bytes, std::string name);

  // Tensors point into this object's own copies, which move but are not copied.
  safetensors(safetensors&&) = default;
  safetensors& operator=(safetensors&&) = default;
  safetensors(const safetensors&) = delete;
  safetensors& operator=(const safetensors&) = delete;

  const std::map<std::string, raw_tensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// \throws model_error  if there is no such tensor.
  const raw_tensor& tensor(const std::string& name) const;

  /// An F32 tensor of at most two dimensions, without a copy; a vector is one row.
  /// \throws model_error  if there is no such tensor, or it has another dtype or more dimensions.
  Eigen::Map<const float_matrix> matrix(const std::string& name) const;

  /// The same with the shape that the caller needs. \throws model_error  if it has another.
  Eigen::Map<const float_matrix> matrix(const std::string& name, Eigen::Index rows,
                                        Eigen::Index cols) const;

 private:
  void read(std::span<const std::byte> file);
  void align_floats();
  [[noreturn]] void fail(const std::string& name, const std::string& what) const;

  std::string name_;
  std::shared_ptr<const std::byte> mapping_;
  std::map<std::string, raw_tensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, std::vector<float>> copies_;
};

}  // namespace minilm
