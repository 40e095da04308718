#include "wordpiece.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <istream>
#include <map>

namespace minilm {
namespace {

using std::to_string;

constexpr std::array special_tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
constexpr std::size_t longest_word = 100;  // characters; a longer word is unknown
constexpr char32_t replacement = 0xFFFD;

utf8proc_category_t category_of(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

/// One character of a text that is not empty: its length in bytes, or a negative number where the
/// bytes are not UTF-8.
utf8proc_ssize_t next_character(std::string_view text, utf8proc_int32_t& c) {
  return utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                          static_cast<utf8proc_ssize_t>(text.size()), &c);
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    utf8proc_int32_t c = 0;
    const auto length = next_character(text, c);
    if (length <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(length));
  }
  return true;
}

std::u32string decoded(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  while (!text.empty()) {
    utf8proc_int32_t c = 0;
    const auto length = next_character(text, c);
    out.push_back(length > 0 ? static_cast<char32_t>(c) : replacement);
    text.remove_prefix(static_cast<std::size_t>(std::max<utf8proc_ssize_t>(length, 1)));
  }
  return out;
}

std::string encoded(char32_t c) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes.data());
  return {bytes.begin(), bytes.begin() + length};
}

bool is_whitespace(char32_t c) {
  const auto category = category_of(c);
  return c == '\t' || c == '\n' || c == '\r' || category == UTF8PROC_CATEGORY_ZS ||
         category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

/// Control, format and private characters. Unassigned ones are no controls to the model's
/// tokenizer.
bool is_control(char32_t c) {
  const auto category = category_of(c);
  return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
         category == UTF8PROC_CATEGORY_CO;
}

/// What Unicode calls so, and the rest of ASCII's signs: "$+<=>^`|~".
bool is_punctuation(char32_t c) {
  const auto category = category_of(c);
  return (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO) ||
         std::u32string_view(U"$+<=>^`|~").find(c) != std::u32string_view::npos;
}

/// Ideographs, which are words of their own. The blocks are those of the model's tokenizer, whose
/// extension E begins a block late.
bool is_ideograph(char32_t c) {
  constexpr std::array<std::array<char32_t, 2>, 7> blocks = {{{0x4E00, 0x9FFF},
                                                              {0x3400, 0x4DBF},
                                                              {0x20000, 0x2A6DF},
                                                              {0x2A700, 0x2B81F},
                                                              {0x2B920, 0x2CEAF},
                                                              {0xF900, 0xFAFF},
                                                              {0x2F800, 0x2FA1F}}};
  return std::any_of(blocks.begin(), blocks.end(),
                     [c](const auto& block) { return c >= block[0] && c <= block[1]; });
}

/// Without controls and broken bytes, every kind of blank a space, ideographs between spaces.
std::u32string cleaned(const std::u32string& text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    if (is_whitespace(c))
      out += U' ';
    else if (is_ideograph(c))
      out += {U' ', c, U' '};
    else if (c != replacement && !is_control(c))
      out += c;
  }
  return out;
}

/// Canonical decomposition (Unicode's NFD): letters, each followed by its marks in standard order,
/// which is by their class; marks of one class stay as they came.
std::u32string decomposed(const std::u32string& text) {
  std::u32string out;
  out.reserve(text.size());
  std::multimap<int, char32_t> marks;
  const auto write_marks = [&] {
    for (const auto& [order, mark] : marks) out += mark;
    marks.clear();
  };
  for (const char32_t c : text) {
    std::array<utf8proc_int32_t, 32> parts{};  // the longest canonical decomposition has 4
    int unused = 0;
    const auto count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(),
                                utf8proc_ssize_t(parts.size()), UTF8PROC_DECOMPOSE, &unused);
    for (utf8proc_ssize_t k = 0; k < count; ++k) {
      const utf8proc_int32_t part = parts[static_cast<std::size_t>(k)];
      const int order = utf8proc_get_property(part)->combining_class;
      if (order == 0) write_marks();
      if (order == 0)
        out += static_cast<char32_t>(part);
      else
        marks.emplace(order, static_cast<char32_t>(part));
    }
  }
  write_marks();
  return out;
}

std::u32string without_accents(std::u32string text) {
  std::erase_if(text, [](char32_t c) { return category_of(c) == UTF8PROC_CATEGORY_MN; });
  return text;
}

std::u32string lower_case(std::u32string text) {
  for (char32_t& c : text)
    c = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
  return text;
}

}  // namespace

wordpiece::wordpiece(const std::filesystem::path& vocabulary) {
  std::ifstream file(vocabulary, std::ios::binary);
  if (!file) throw model_error(vocabulary.string() + ": the file cannot be opened");
  read(file, vocabulary.string());
}

wordpiece::wordpiece(std::istream& vocabulary, const std::string& name) { read(vocabulary, name); }

void wordpiece::read(std::istream& vocabulary, const std::string& name) {
  const auto fail = [&](const std::string& what) {
    throw model_error(name + ':' + to_string(tokens_.size() + 1) + ": " + what);
  };
  for (std::string line; std::getline(vocabulary, line); tokens_.push_back(line)) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty()) fail("the line is empty");
    if (!is_utf8(line)) fail("the line is not UTF-8");
    const bool continues = line.size() > 2 && line.starts_with("##");
    lookup& known = continues ? continuations_ : beginnings_;
    const int id = static_cast<int>(tokens_.size());
    const auto [found, is_new] = known.emplace(continues ? line.substr(2) : line, id);
    if (!is_new) fail("the token of line " + to_string(found->second + 1) + " again");
    longest_ = std::max(longest_, line.size());
  }
  if (vocabulary.bad()) fail("the file cannot be read");
  if (tokens_.empty()) fail("the file holds no token");
  for (const char* special : special_tokens) {
    const auto found = beginnings_.find(special);
    if (found == beginnings_.end())
      throw model_error(name + ": the token " + special + " is missing");
    specials_.insert(*found);
  }
  unknown_ = specials_.at("[UNK]");
  first_ = specials_.at("[CLS]");
  last_ = specials_.at("[SEP]");
}

std::vector<int> wordpiece::encode(std::string_view text, std::size_t limit) const {
  limit = std::max<std::size_t>(limit, 2) - 1;  // one is left for [SEP]
  std::vector<int> out = {first_};
  std::size_t begin = 0;  // of what has not been looked at
  for (std::size_t at = text.find('['); at != text.npos && out.size() < limit;
       at = text.find('[', at + 1)) {
    for (const auto& [special, id] : specials_) {
      if (!text.substr(at).starts_with(special)) continue;
      add_words(text.substr(begin, at - begin), limit, out);
      out.push_back(id);
      begin = at + special.size();
    }
  }
  add_words(text.substr(begin), limit, out);
  out.resize(std::min(out.size(), limit));
  out.push_back(last_);
  return out;
}

std::vector<std::string> wordpiece::tokens(const std::vector<int>& ids) const {
  std::vector<std::string> out;
  for (const int id : ids) out.push_back(token(id));
  return out;
}

/// Words are what lies between blanks, and every punctuation mark is a word. Stops when there are
/// `limit` tokens or a word more.
void wordpiece::add_words(std::string_view text, std::size_t limit, std::vector<int>& out) const {
  const std::u32string clean = lower_case(without_accents(decomposed(cleaned(decoded(text)))));
  std::u32string word;
  const auto finish_word = [&] {
    if (!word.empty()) add_pieces(word, out);
    word.clear();
  };
  for (const char32_t c : clean) {
    if (out.size() >= limit) return;
    const bool alone = is_punctuation(c);
    if (alone || c == U' ') finish_word();
    if (c != U' ') word += c;
    if (alone) finish_word();
  }
  finish_word();
}

/// The longest token that the rest of the word begins with, again and again; a word that does not
/// come out even is unknown as a whole.
void wordpiece::add_pieces(const std::u32string& word, std::vector<int>& out) const {
  if (word.size() > longest_word) return out.push_back(unknown_);
  std::string text;
  std::vector<std::size_t> bounds = {0};  // where characters begin and end, in bytes
  for (const char32_t c : word) {
    text += encoded(c);
    bounds.push_back(text.size());
  }
  std::vector<int> pieces;
  for (std::size_t first = 0; first < word.size();) {
    const lookup& known = first == 0 ? beginnings_ : continuations_;
    const std::size_t begin = bounds[first];
    std::size_t last = word.size();
    while (bounds[last] - begin > longest_) --last;  // never reaches first: [CLS] has five bytes
    auto found = known.end();
    for (; last > first; --last) {
      found = known.find(std::string_view(text).substr(begin, bounds[last] - begin));
      if (found != known.end()) break;
    }
    if (found == known.end()) return out.push_back(unknown_);
    pieces.push_back(found->second);
    first = last;
  }
  out.insert(out.end(), pieces.begin(), pieces.end());
}

}  // namespace minilm
