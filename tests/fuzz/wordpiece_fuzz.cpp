// The first byte chooses: a text for a small vocabulary, cut at that many tokens, or (from 128 on)
// a vocabulary, which is refused with a model_error or can tokenize its own lines.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>

#include "examples/minilm/wordpiece.hpp"

namespace {

void require(bool truth) {
  if (!truth) std::abort();
}

const minilm::wordpiece& small() {
  static const minilm::wordpiece tokenizer = [] {
    std::istringstream in(
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\na\nb\nc\nd\ne\n##a\n##b\n##c\n##d\n##e\nab\n##"
        "ab\n"
        "##abc\ne\u0301\n'\n.\n[\n]\n東\n京\nᄒ\n##ᅡ\n##ᆫ\nσ\n##ς\n##\U0001F600\n");
    return minilm::wordpiece(in, "small");
  }();
  return tokenizer;
}

void tokenize(const minilm::wordpiece& tokenizer, const std::string& text, std::size_t limit) {
  const auto ids = tokenizer.encode(text, limit);
  require(ids.size() >= 2 && ids.size() <= std::max<std::size_t>(limit, 2));
  require(tokenizer.token(ids.front()) == "[CLS]" && tokenizer.token(ids.back()) == "[SEP]");
  require(tokenizer.tokens(ids).size() == ids.size());
  // A smaller limit cuts; it never changes what stands before.
  const auto all = tokenizer.encode(text, text.size() + 2);
  require(all.size() >= ids.size() && std::equal(ids.begin(), ids.end() - 1, all.begin()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(data + 1, data + size);
  if (data[0] < 128) {
    tokenize(small(), text, data[0]);
    return 0;
  }
  std::istringstream in(text);
  try {
    tokenize(minilm::wordpiece(in, "fuzz"), text, 256);
  } catch (const minilm::model_error&) {
  }
  return 0;
}
