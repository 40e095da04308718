// The input is a whole ONNX file. It is refused with a model_error, or every tensor can be read to
// its last byte and every input of a node by its name.

#include <cstdint>
#include <cstdlib>
#include <span>

#include "examples/vit/onnx_file.hpp"

namespace {

void require(bool truth) {
  if (!truth) std::abort();
}

void use(const vit::onnx_file& file, std::size_t size) {
  std::size_t total = 0;
  unsigned sum = 0;
  for (const auto& [name, tensor] : file.tensors()) {
    total += tensor.bytes.size();
    for (const std::byte b : tensor.bytes) sum += std::to_integer<unsigned>(b);
    try {
      const auto matrix = file.matrix(name, tensor.dims);
      require(static_cast<std::size_t>(matrix.size()) * sizeof(float) == tensor.bytes.size());
      sum += static_cast<unsigned>(matrix.array().isNaN().count());
    } catch (const vit::model_error&) {
    }
  }
  require(total <= size);
  for (const auto& [name, inputs] : file.nodes())
    for (std::size_t k = 0; k < inputs.size(); ++k)
      sum += static_cast<unsigned>(file.input(name, k).size());
  volatile unsigned kept = sum;  // so that reading is not optimised away
  (void)kept;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    use(vit::onnx_file(std::as_bytes(std::span(data, size)), "fuzz"), size);
  } catch (const vit::model_error&) {
  }
  return 0;
}
