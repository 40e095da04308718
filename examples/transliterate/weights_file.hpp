#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "examples/support/files.hpp"

namespace transliterate {

using examples::model_error;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A file in which matrices of floats lie row by row at known places: HDF5 where nothing is
/// compressed, and the data of a checkpoint of TensorFlow. Which places these are is known of the
/// very files that fetch.sh brings, whose checksums it compares.
class weights_file {
 public:
  /// \throws model_error  unless it is a regular file that can be read.
  explicit weights_file(const std::filesystem::path& path)
      : name_(path.string()), bytes_(examples::bytes_of_file(path)) {}

  /// \throws model_error  unless the file is so long, and the numbers are finite.
  matrix at(std::size_t offset, Eigen::Index rows, Eigen::Index cols) const {
    matrix m(rows, cols);
    const std::size_t size = static_cast<std::size_t>(m.size()) * sizeof(float);
    if (offset > bytes_.size() || size > bytes_.size() - offset)
      fail("a matrix of " + std::to_string(size) + " bytes should begin at byte " +
           std::to_string(offset) + ", but the file has " + std::to_string(bytes_.size()));
    examples::numbers_at(bytes_.data() + offset,
                         std::span(m.data(), static_cast<std::size_t>(m.size())));
    if (!m.allFinite()) fail("the matrix at byte " + std::to_string(offset) + " is not finite");
    return m;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw model_error(name_ + ": " + what); }

  std::string name_;
  std::vector<std::byte> bytes_;
};

}  // namespace transliterate
