// The first two bytes are the length of a vocabulary, which follows; the rest is a text. The
// vocabulary is refused with a model_error, or it can cut the text.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "examples/translator/sentencepiece.hpp"

namespace {

void require(bool truth) {
  if (!truth) std::abort();
}

void cut(const translator::sentencepiece& vocabulary, const std::string& text) {
  const std::string normalized = vocabulary.normalized(text);
  const std::vector<int> ids = vocabulary.encode(text);
  require(ids.size() <= normalized.size());
  require(ids.empty() == normalized.empty());
  // Without unknown characters the pieces are the text.
  std::string joined;
  bool known = true;
  for (const int id : ids) {
    known = known && id != vocabulary.unknown();
    joined += vocabulary.piece(id);
  }
  if (known) require(joined == normalized);
  require(vocabulary.decode(ids).size() <= 8 * joined.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto input = std::span(data, size).subspan(2);
  const std::size_t length = std::min<std::size_t>(data[0] | data[1] << 8, input.size());
  try {
    const translator::sentencepiece vocabulary(std::as_bytes(input.first(length)), "fuzz");
    const auto rest = input.subspan(length);
    cut(vocabulary, {rest.begin(), rest.end()});
  } catch (const translator::model_error&) {
  }
  return 0;
}
