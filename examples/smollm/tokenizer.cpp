#include "tokenizer.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <queue>
#include <utility>

namespace smollm {
namespace {

using std::to_string;

/// A character and its bytes; what is not UTF-8 is one byte with no code point.
struct character {
  char32_t code = 0;
  std::size_t size = 1;
  bool valid = false;
};

character character_at(std::string_view text) {
  utf8proc_int32_t code = -1;
  const auto* from = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto size = utf8proc_iterate(
      from, static_cast<utf8proc_ssize_t>(std::min<std::size_t>(text.size(), 4)), &code);
  if (size <= 0 || code < 0) return {};
  return {static_cast<char32_t>(code), static_cast<std::size_t>(size), true};
}

enum class kind { letter, digit, space, other };

/// \p{L}, \p{N} and \s of Unicode.
kind kind_of(const character& c) {
  if (!c.valid) return kind::other;
  const char32_t u = c.code;
  if ((u >= 0x09 && u <= 0x0d) || u == 0x20 || u == 0x85 || u == 0xa0 || u == 0x1680 ||
      (u >= 0x2000 && u <= 0x200a) || u == 0x2028 || u == 0x2029 || u == 0x202f || u == 0x205f ||
      u == 0x3000)
    return kind::space;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(u))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kind::letter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return kind::digit;
    default:
      return kind::other;
  }
}

/// The end of the characters of one kind from `at` on.
std::size_t end_of_run(std::string_view text, std::size_t at, kind of) {
  while (at < text.size()) {
    const character c = character_at(text.substr(at));
    if (kind_of(c) != of) break;
    at += c.size;
  }
  return at;
}

/// "'s" and the like at the start of a text, or 0.
std::size_t contraction(std::string_view text) {
  for (const std::string_view c : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (text.starts_with(c)) return c.size();
  return 0;
}

/// The bytes of the first word of a text without digits, which GPT-2 finds with
///     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
std::size_t first_word(std::string_view text) {
  if (const std::size_t size = contraction(text)) return size;
  const std::size_t begin = text[0] == ' ' && text.size() > 1 ? 1 : 0;
  const kind of = kind_of(character_at(text.substr(begin)));
  if (of != kind::space) return end_of_run(text, begin, of);
  // Spaces; the last of several belongs to the word behind them.
  std::size_t at = 0, last = 0;
  while (at < text.size()) {
    const character c = character_at(text.substr(at));
    if (kind_of(c) != kind::space) break;
    last = at;
    at += c.size;
  }
  return at == text.size() || last == 0 ? at : last;
}

/// How a file writes bytes: those that are printable in Latin-1 as they are, the others as the code
/// points from 256 on. \return the byte of a code point, or −1.
int byte_of(char32_t code) {
  const auto printable = [](unsigned b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  };
  static const std::array<int, 324> bytes = [&] {
    std::array<int, 324> table{};
    table.fill(-1);
    std::size_t next = 256;
    for (unsigned b = 0; b < 256; ++b) table[printable(b) ? b : next++] = static_cast<int>(b);
    return table;
  }();
  return code < bytes.size() ? bytes[code] : -1;
}

/// The bytes that a token stands for; false where a character stands for none.
bool bytes_of(std::string_view token, std::string& out) {
  out.clear();
  for (std::size_t at = 0; at < token.size();) {
    const character c = character_at(token.substr(at));
    const int byte = c.valid ? byte_of(c.code) : -1;
    if (byte < 0) return false;
    out += static_cast<char>(byte);
    at += c.size;
  }
  return true;
}

std::uint64_t key_of(int left, int right) {
  return std::uint64_t(static_cast<std::uint32_t>(left)) << 32U | static_cast<std::uint32_t>(right);
}

std::vector<bool> specials_in(const gguf& file, std::size_t count) {
  constexpr std::int32_t control = 3, defined_by_user = 4;
  const std::vector<std::int32_t> types = file.numbers("tokenizer.ggml.token_type");
  if (types.size() != count)
    throw model_error(file.name() + ": there are " + to_string(count) + " tokens but types of " +
                      to_string(types.size()));
  std::vector<bool> special(count);
  for (std::size_t k = 0; k < count; ++k)
    special[k] = types[k] == control || types[k] == defined_by_user;
  return special;
}

}  // namespace

tokenizer::tokenizer(const gguf& file)
    : tokenizer(file.texts("tokenizer.ggml.tokens"),
                specials_in(file, file.texts("tokenizer.ggml.tokens").size()),
                file.texts("tokenizer.ggml.merges"), file.name()) {
  if (const std::string_view model = file.text("tokenizer.ggml.model"); model != "gpt2")
    throw model_error(name_ +
                      ": tokenizer.ggml.model is not gpt2, the only kind that is known here");
}

tokenizer::tokenizer(const std::vector<std::string_view>& tokens, const std::vector<bool>& special,
                     const std::vector<std::string_view>& merges, const std::string& name)
    : name_(name), special_(special) {
  const auto fail = [&](const std::string& what) { throw model_error(name_ + ": " + what); };
  constexpr std::size_t most = 10'000'000;  // far beyond any vocabulary; ids are ints
  if (tokens.size() != special.size() || tokens.size() > most || merges.size() > most)
    fail("there are " + to_string(tokens.size()) + " tokens and " + to_string(merges.size()) +
         " merges, more than " + to_string(most) + ", or kinds of other tokens");
  lookup ids;
  std::fill(std::begin(of_byte_), std::end(of_byte_), -1);
  for (std::size_t k = 0; k < tokens.size(); ++k) {
    std::string bytes;
    const int id = static_cast<int>(k);
    if (special[k] || !bytes_of(tokens[k], bytes)) {
      bytes = tokens[k];
      if (special[k] && !bytes.empty()) {
        if (!specials_.emplace(bytes, id).second) fail("token " + to_string(k) + " is there twice");
        longest_special_ = std::max(longest_special_, bytes.size());
      }
    } else {
      if (bytes.size() == 1) of_byte_[static_cast<unsigned char>(bytes[0])] = id;
      if (!ids.emplace(bytes, id).second) fail("token " + to_string(k) + " is there twice");
    }
    bytes_.push_back(std::move(bytes));
  }
  merges_.reserve(merges.size());
  std::string left, right;
  for (std::size_t k = 0; k < merges.size(); ++k) {
    const std::size_t space = merges[k].find(' ');
    const auto id_of = [&](const std::string& bytes) {
      const auto found = ids.find(bytes);
      if (found == ids.end()) fail("merge " + to_string(k) + " is not of tokens to a token");
      return found->second;
    };
    if (space == merges[k].npos || !bytes_of(merges[k].substr(0, space), left) ||
        !bytes_of(merges[k].substr(space + 1), right) || left.empty() || right.empty())
      fail("merge " + to_string(k) + " is not a pair of tokens");
    const int l = id_of(left), r = id_of(right), joined = id_of(left + right);
    merges_.emplace(key_of(l, r), merge{static_cast<int>(k), joined});
  }
}

int tokenizer::special(std::string_view name) const {
  const auto found = specials_.find(name);
  if (found == specials_.end())
    throw model_error(name_ + ": there is no special token " + std::string(name));
  return found->second;
}

const tokenizer::merge* tokenizer::merge_of(int left, int right) const {
  const auto found = merges_.find(key_of(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

/// Pairs wait in a queue, the one that was learned first, and of those the leftmost, in front; one
/// whose parts have meanwhile become others is passed over.
void tokenizer::add_pieces(std::string_view word, std::vector<int>& out) const {
  struct piece {
    int id;
    std::ptrdiff_t before, after;
  };
  struct pair {
    int rank;
    std::ptrdiff_t left;
    int left_id, right_id, joined;
    bool operator<(const pair& other) const {
      return std::pair(other.rank, other.left) < std::pair(rank, left);
    }
  };
  std::vector<piece> pieces;
  pieces.reserve(word.size());
  for (const char c : word)
    if (const int id = of_byte_[static_cast<unsigned char>(c)]; id >= 0) {
      const auto k = static_cast<std::ptrdiff_t>(pieces.size());
      pieces.push_back({id, k - 1, k + 1});
    }
  const auto count = static_cast<std::ptrdiff_t>(pieces.size());
  const auto at = [&](std::ptrdiff_t k) -> piece& { return pieces[static_cast<std::size_t>(k)]; };
  std::priority_queue<pair> waiting;
  const auto add_pair = [&](std::ptrdiff_t left) {
    if (left < 0 || at(left).after >= count) return;
    const int l = at(left).id, r = at(at(left).after).id;
    if (const merge* m = merge_of(l, r)) waiting.push({m->rank, left, l, r, m->joined});
  };
  for (std::ptrdiff_t k = 0; k + 1 < count; ++k) add_pair(k);
  while (!waiting.empty()) {
    const pair next = waiting.top();
    waiting.pop();
    piece& left = at(next.left);
    if (left.id != next.left_id || left.after >= count || at(left.after).id != next.right_id)
      continue;
    piece& right = at(left.after);
    left.id = next.joined;
    right.id = -1;
    left.after = right.after;
    if (left.after < count) at(left.after).before = next.left;
    add_pair(left.before);
    add_pair(next.left);
  }
  for (const piece& p : pieces)
    if (p.id >= 0) out.push_back(p.id);
}

/// Each digit is a word; what lies between digits is cut as GPT-2 does.
void tokenizer::add_words(std::string_view text, std::vector<int>& out) const {
  while (!text.empty()) {
    std::size_t end = 0;
    character digit;
    for (; end < text.size(); end += digit.size) {
      digit = character_at(text.substr(end));
      if (kind_of(digit) == kind::digit) break;
    }
    for (std::string_view part = text.substr(0, end); !part.empty();) {
      const std::size_t size = first_word(part);
      add_pieces(part.substr(0, size), out);
      part.remove_prefix(size);
    }
    text.remove_prefix(end);
    if (!text.empty()) {
      add_pieces(text.substr(0, digit.size), out);
      text.remove_prefix(digit.size);
    }
  }
}

std::vector<int> tokenizer::encode(std::string_view text) const {
  std::vector<int> out;
  add_words(text, out);
  return out;
}

std::vector<int> tokenizer::encode_with_specials(std::string_view text) const {
  std::vector<int> out;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    // The longest that stands here.
    std::size_t size = std::min(longest_special_, text.size() - at);
    auto found = specials_.end();
    for (; size > 0 && found == specials_.end(); --size)
      found = specials_.find(text.substr(at, size));
    if (found == specials_.end()) {
      ++at;
      continue;
    }
    add_words(text.substr(begin, at - begin), out);
    out.push_back(found->second);
    begin = at += found->first.size();
  }
  add_words(text.substr(begin), out);
  return out;
}

std::string tokenizer::decode(const std::vector<int>& ids) const {
  std::string text;
  for (const int id : ids)
    if (!is_special(id)) text += bytes(id);
  return text;
}

std::size_t whole_characters(std::string_view text) {
  // A character has at most four bytes; its first says how many.
  const std::size_t from = text.size() > 3 ? text.size() - 3 : 0;
  for (std::size_t at = text.size(); at-- > from;) {
    const auto b = static_cast<unsigned char>(text[at]);
    if ((b & 0xc0U) == 0x80U) continue;
    const std::size_t wanted = b >= 0xf0 && b <= 0xf4  ? 4
                               : b >= 0xe0 && b < 0xf0 ? 3
                               : b >= 0xc2 && b < 0xe0 ? 2
                                                       : 1;
    return at + wanted > text.size() ? at : text.size();
  }
  return text.size();
}

}  // namespace smollm
