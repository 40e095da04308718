// The input is a whole GGUF file. It is refused with a model_error, or every value and every tensor
// can be read to its end.

#include <cstdint>
#include <cstdlib>
#include <span>

#include "examples/smollm/gguf.hpp"

namespace {

void require(bool truth) {
  if (!truth) std::abort();
}

template <class T>
unsigned sum_of(const T& x) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    unsigned sum = 0;
    for (const char c : x) sum += static_cast<unsigned char>(c);
    return sum;
  } else if constexpr (std::is_same_v<T, std::vector<std::string_view>>) {
    unsigned sum = 0;
    for (const std::string_view text : x) sum += sum_of(text);
    return sum;
  } else if constexpr (std::is_same_v<T, smollm::gguf_list>) {
    unsigned sum = 0;
    for (const std::byte b : x.bytes) sum += std::to_integer<unsigned>(b);
    return sum;
  } else {
    return x != T{};
  }
}

void use(const smollm::gguf& file, std::size_t size) {
  std::size_t total = 0;
  unsigned sum = 0;
  for (const auto& [key, value] : file.values())
    sum += std::visit([](const auto& x) { return sum_of(x); }, value);
  for (const auto& [name, tensor] : file.tensors()) {
    total += tensor.bytes.size();
    if (tensor.shape.size() > 2 || tensor.bytes.empty()) continue;
    const auto cols = static_cast<Eigen::Index>(tensor.shape[0]);
    const auto rows = tensor.shape.size() > 1 ? static_cast<Eigen::Index>(tensor.shape[1]) : 1;
    const smollm::float_matrix all = file.matrix(name, rows, cols);
    require(all.rows() == rows && all.cols() == cols);
    sum += static_cast<unsigned>(all.array().isNaN().count());
    if (tensor.shape.size() != 2) continue;
    const int last[] = {static_cast<int>(rows) - 1};
    smollm::float_matrix row;
    file.rows_into(name, last, row);
    for (Eigen::Index c = 0; c < cols; ++c)
      require(row(0, c) == all(rows - 1, c) || row(0, c) != row(0, c));
  }
  require(total <= size);
  volatile unsigned kept = sum;  // so that reading is not optimised away
  (void)kept;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    use(smollm::gguf(std::as_bytes(std::span(data, size)), "fuzz"), size);
  } catch (const smollm::model_error&) {
  }
  return 0;
}
