// The first byte chooses: a text for a small vocabulary, or (from 128 on) a vocabulary, a token for
// each line, then an empty line, then merges, which is refused with a model_error or can cut its
// own text.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "examples/smollm/tokenizer.hpp"
#include "tests/smollm/file.hpp"

namespace {

using smollm_test::vocabulary;

void require(bool truth) {
  if (!truth) std::abort();
}

smollm::tokenizer made(const vocabulary& v) {
  std::vector<bool> special;
  for (const std::int32_t type : v.types) special.push_back(type == 3);
  return {{v.tokens.begin(), v.tokens.end()}, special, {v.merges.begin(), v.merges.end()}, "fuzz"};
}

void cut(const smollm::tokenizer& t, const std::string& text) {
  const std::vector<int> ids = t.encode(text);
  require(t.decode(ids) == text);
  require(ids.size() <= text.size());
  std::string all;
  for (const int id : t.encode_with_specials(text)) all += t.bytes(id);
  require(all == text);
  require(smollm::whole_characters(text) <= text.size());
  require(smollm::whole_characters(text) + 3 >= text.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(data + 1, data + size);
  static const vocabulary small({{"h", "e"},
                                 {"l", "l"},
                                 {"he", "ll"},
                                 {" ", "he"},
                                 {"a", "a"},
                                 {"aa", "aa"},
                                 {"\xc3", "\xa9"},
                                 {"'", "t"},
                                 {" ", " "},
                                 {"1", "2"}});
  static const smollm::tokenizer fixed = made(small);
  if (data[0] < 128) {
    cut(fixed, text);
    return 0;
  }
  vocabulary v({});
  bool merges = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.empty() && !merges) {
      merges = true;
    } else if (merges) {
      v.merges.push_back(line);
    } else {
      v.tokens.push_back(line);
      v.types.push_back(data[0] % 2 == 0 ? 1 : 3);
    }
  }
  try {
    cut(made(v), text);
  } catch (const smollm::model_error&) {
  }
  return 0;
}
