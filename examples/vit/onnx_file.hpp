#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/support/model_error.hpp"

namespace vit {

using examples::model_error;
using float_matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using shape = std::vector<std::uint64_t>;

/// A tensor that the file gives a value to. data_type is the number that ONNX has for it, 1 for
/// float; the bytes are little-endian and row-major. A tensor that keeps its numbers elsewhere (in
/// another file, or as a protobuf list) has none here.
struct onnx_tensor {
  shape dims;
  std::uint64_t data_type = 0;
  std::span<const std::byte> bytes;
};

/// The constants of an ONNX file, and which node takes which: a protobuf message, read here without
/// a library for the few fields that weights need,
///
///     ModelProto   7 graph
///     GraphProto   1 node, 5 initializer
///     NodeProto    1 input, 3 name
///     TensorProto  1 dims, 2 data_type, 8 name, 9 raw_data
///
/// \see onnx.proto in the repository onnx/onnx; "Encoding" in protobuf's documentation.
/// Whatever the bytes are, either every tensor lies inside the file, as large as its type and
/// dimensions ask for, or the constructor throws.
class onnx_file {
 public:
  /// \throws model_error
  explicit onnx_file(const std::filesystem::path& file);

  /// Reads bytes that outlive this object; `name` stands for the file in messages.
  /// \throws model_error
  onnx_file(std::span<const std::byte> bytes, std::string name);

  // Tensors point into this object's own bytes, which move but are not copied.
  onnx_file(onnx_file&&) = default;
  onnx_file& operator=(onnx_file&&) = default;
  onnx_file(const onnx_file&) = delete;
  onnx_file& operator=(const onnx_file&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::map<std::string, onnx_tensor>& tensors() const { return tensors_; }
  /// The inputs of each node that has a name.
  [[nodiscard]] const std::map<std::string, std::vector<std::string_view>>& nodes() const {
    return nodes_;
  }

  /// The name of a node's input. \throws model_error  if there is no such node or input.
  [[nodiscard]] std::string input(const std::string& node, std::size_t number) const;

  /// The numbers of a float tensor that has exactly these dimensions, as so many rows of one
  /// length.
  /// \throws model_error  if there is none, or it is of another type or other dimensions.
  [[nodiscard]] float_matrix matrix(const std::string& tensor, const shape& dims,
                                    Eigen::Index rows = 1) const;

 private:
  void read(std::span<const std::byte> file);
  void read_graph(std::span<const std::byte> message);
  void read_node(std::span<const std::byte> message);
  void read_tensor(std::span<const std::byte> message);

  std::string name_;
  std::vector<std::byte> bytes_;
  std::map<std::string, onnx_tensor> tensors_;
  std::map<std::string, std::vector<std::string_view>> nodes_;
};

}  // namespace vit
