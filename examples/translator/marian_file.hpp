#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "examples/support/model_error.hpp"

namespace translator {

using examples::model_error;

using float_matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A matrix of 8-bit integers that stand for real numbers,
///   W(i, j) = q(i, j) / scale.
struct integer_matrix {
  using stride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
  Eigen::Map<const Eigen::Matrix<std::int8_t, Eigen::Dynamic, Eigen::Dynamic>, 0, stride> q;
  float scale;

  Eigen::MatrixXf real() const {
    // Eigen goes over all columns, also where they are empty and the file says that they are many.
    if (q.size() == 0) return Eigen::MatrixXf(q.rows(), q.cols());
    return q.cast<float>() / scale;
  }
};

/// An item of a file. A shape has as many extents as the file says, usually two.
struct marian_item {
  std::uint64_t type = 0;
  std::vector<Eigen::Index> shape;
  std::span<const std::byte> bytes;  ///< the values, and what fills them up to an aligned size
};

/// A model file of Marian, version 1: a header for each item with the lengths of what follows, the
/// names, the shapes, a gap, and the data of the items one after the other. Numbers are
/// little-endian.
///
/// \see Junczys-Dowmunt et al., "Marian: Fast Neural Machine Translation in C++", 2018; the format
///      is in the repository marian-nmt/marian-dev, src/common/binary.cpp.
/// Whatever the bytes are, either every item lies inside the file and is as long as its type and
/// shape ask for, or the constructor throws.
class marian_file {
 public:
  /// \throws model_error
  explicit marian_file(const std::filesystem::path& file);

  /// A file that has been read; `name` stands for it in messages.
  /// \throws model_error
  marian_file(std::vector<std::byte> bytes, std::string name);

  // Items point into this object's bytes, which move but are not copied.
  marian_file(marian_file&&) = default;
  marian_file& operator=(marian_file&&) = default;
  marian_file(const marian_file&) = delete;
  marian_file& operator=(const marian_file&) = delete;

  const std::string& name() const { return name_; }
  const std::map<std::string, marian_item>& items() const { return items_; }
  bool has(const std::string& item) const { return items_.count(item) != 0; }

  /// \throws model_error  if there is no such item.
  const marian_item& item(const std::string& name) const;

  /// The extents of a matrix. \throws model_error  if the item has more or fewer than two.
  std::pair<Eigen::Index, Eigen::Index> size(const std::string& name) const;

  /// An item of floats, rows × cols.
  /// \throws model_error  if there is no such item, or it has another type or shape.
  float_matrix floats(const std::string& name, Eigen::Index rows, Eigen::Index cols) const;

  /// How the numbers of a matrix of integers lie: weights for products column after column,
  /// embeddings row after row.
  enum class order { by_columns, by_rows };

  /// An item of integers with their scale, rows × cols.
  /// \throws model_error  as floats(), and for a scale that is not positive and finite.
  integer_matrix integers(const std::string& name, Eigen::Index rows, Eigen::Index cols,
                          order lies = order::by_columns) const;

  /// The text of an item of bytes, up to its first zero.
  /// \throws model_error  if there is no such item, or it has another type.
  std::string text(const std::string& name) const;

 private:
  void read();
  const marian_item& matrix(const std::string& name, std::uint64_t type, Eigen::Index rows,
                            Eigen::Index cols) const;
  [[noreturn]] void fail(const std::string& item, const std::string& what) const;

  std::string name_;
  std::vector<std::byte> bytes_;
  std::map<std::string, marian_item> items_;
};

}  // namespace translator
