#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "examples/support/files.hpp"

namespace examples {

using float_matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A tensor of a file, row-major. dtype is written as in the file: "F32", "F16", "I64", …
struct raw_tensor {
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::span<const std::byte> bytes;
};

/// How the format calls a type of numbers.
template <class T>
  requires(std::is_same_v<T, float> || std::is_same_v<T, double>)
inline constexpr const char* dtype_of = std::is_same_v<T, float> ? "F32" : "F64";

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

  // What matrix() gives may lie in this object's own copies, which move but are not copied.
  safetensors(safetensors&&) = default;
  safetensors& operator=(safetensors&&) = default;
  safetensors(const safetensors&) = delete;
  safetensors& operator=(const safetensors&) = delete;

  const std::map<std::string, raw_tensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// \throws model_error  if there is no such tensor.
  const raw_tensor& tensor(const std::string& name) const;

  /// An F32 tensor of at most two dimensions, without a copy where it is aligned and the machine is
  /// little-endian; a vector is one row.
  /// \throws model_error  if there is no such tensor, or it has another dtype or more dimensions.
  Eigen::Map<const float_matrix> matrix(const std::string& name) const;

  /// The same with the shape that the caller needs. \throws model_error  if it has another.
  Eigen::Map<const float_matrix> matrix(const std::string& name, Eigen::Index rows,
                                        Eigen::Index cols) const;

  /// The numbers of a tensor of shape [rows, cols] into a matrix of float (F32) or double (F64).
  /// \throws model_error  if there is no such tensor, or it has another dtype or shape than `to`,
  ///         which then is as it was.
  template <class Matrix>
  void copy_to(const std::string& name, Matrix& to) const {
    using T = typename Matrix::Scalar;
    const raw_tensor& t = tensor(name);
    check_matrix(name, t, dtype_of<T>, to.rows(), to.cols());
    const std::byte* from = t.bytes.data();
    for (Eigen::Index i = 0; i < to.rows(); ++i)
      for (Eigen::Index j = 0; j < to.cols(); ++j, from += sizeof(T)) to(i, j) = number_at<T>(from);
  }

 private:
  void read(std::span<const std::byte> file);
  void copy_floats();
  void check_matrix(const std::string& name, const raw_tensor& t, const char* dtype,
                    Eigen::Index rows, Eigen::Index cols) const;
  [[noreturn]] void fail(const std::string& name, const std::string& what) const;

  std::string name_;
  std::shared_ptr<const std::byte> mapping_;
  std::map<std::string, raw_tensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, std::vector<float>> copies_;
};

/// Gathers tensors and writes them as a safetensors file, one after the other in the order in which
/// they were added.
class safetensors_writer {
 public:
  /// A text beside the tensors, which safetensors::metadata() gives.
  void note(const std::string& key, const std::string& text) { metadata_[key] = text; }

  /// A copy of a matrix of float or double, as a tensor of shape [rows, cols].
  /// \throws model_error  if the name was added before.
  template <class Matrix>
  void add(const std::string& name, const Matrix& matrix) {
    using T = typename Matrix::Scalar;
    const auto rows = static_cast<std::size_t>(matrix.rows());
    const auto cols = static_cast<std::size_t>(matrix.cols());
    std::byte* to = place(name, dtype_of<T>, {rows, cols}, rows * cols * sizeof(T));
    for (Eigen::Index i = 0; i < matrix.rows(); ++i)
      for (Eigen::Index j = 0; j < matrix.cols(); ++j, to += sizeof(T)) {
        put_number<T>(matrix(i, j), to);
      }
  }

  /// The file appears under its name when it is complete: whoever stops the program meanwhile
  /// leaves the file that was there before.
  /// \throws model_error  if it cannot be written.
  void write(const std::filesystem::path& file) const;

 private:
  struct written {
    std::string name;
    const char* dtype;
    std::vector<std::uint64_t> shape;
    std::size_t begin, end;
  };
  /// Where the bytes of a new tensor go.
  std::byte* place(const std::string& name, const char* dtype, std::vector<std::uint64_t> shape,
                   std::size_t bytes);
  std::string header() const;

  std::map<std::string, std::string> metadata_;
  std::vector<written> tensors_;
  std::vector<std::byte> data_;
};

}  // namespace examples
