// The input is a whole model file of Marian. It is refused with a model_error, or every item can be
// read to its last byte and all of them together are not longer than the file.

#include <cstdint>
#include <cstdlib>
#include <span>

#include "examples/translator/marian_file.hpp"

namespace {

void require(bool truth) {
  if (!truth) std::abort();
}

/// Every number is read. Eigen would go over the lines of a matrix whose lines are empty.
template <class Matrix>
unsigned nans_of(const Matrix& m) {
  return m.size() > 0 ? static_cast<unsigned>(m.array().isNaN().count()) : 0;
}

void use(const translator::marian_file& file, std::size_t size) {
  std::size_t total = 0;
  unsigned sum = 0;
  for (const auto& [name, item] : file.items()) {
    total += item.bytes.size();
    for (const std::byte b : item.bytes) sum += std::to_integer<unsigned>(b);
    try {
      const auto [rows, cols] = file.size(name);
      require(rows >= 0 && cols >= 0);
      switch (item.type) {
        case 0x0101:
          sum += static_cast<unsigned>(file.text(name).size());
          break;
        case 0x0404:
          sum += nans_of(file.floats(name, rows, cols));
          break;
        case 0x4101:
          for (const auto lies : {translator::marian_file::order::by_columns,
                                  translator::marian_file::order::by_rows})
            sum += nans_of(file.integers(name, rows, cols, lies).real());
          break;
        default:
          break;
      }
    } catch (const translator::model_error&) {
    }
  }
  require(total <= size);
  volatile unsigned kept = sum;  // so that reading is not optimised away
  (void)kept;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    use(translator::marian_file({bytes.begin(), bytes.end()}, "fuzz"), size);
  } catch (const translator::model_error&) {
  }
  return 0;
}
