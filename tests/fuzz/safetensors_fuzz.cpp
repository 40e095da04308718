// The input is a whole safetensors file. It is refused with a model_error, or every tensor can be
// read to its last byte and all of them together are the file's data.

#include <cstdint>
#include <cstdlib>
#include <span>

#include "examples/support/safetensors.hpp"

namespace {

void require(bool truth) {
  if (!truth) std::abort();
}

void use(const examples::safetensors& file, std::size_t size) {
  std::size_t total = 0;
  unsigned sum = 0;
  for (const auto& [name, tensor] : file.tensors()) {
    total += tensor.bytes.size();
    for (const std::byte b : tensor.bytes) sum += std::to_integer<unsigned>(b);
    if (tensor.dtype != "F32" || tensor.shape.size() > 2) continue;
    const auto matrix = file.matrix(name);
    require(static_cast<std::size_t>(matrix.size()) * sizeof(float) == tensor.bytes.size());
    sum += static_cast<unsigned>(matrix.array().isNaN().count());
  }
  require(total + 8 <= size);
  volatile unsigned kept = sum;  // so that reading is not optimised away
  (void)kept;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    use(examples::safetensors(std::as_bytes(std::span(data, size)), "fuzz"), size);
  } catch (const examples::model_error&) {
  }
  return 0;
}
