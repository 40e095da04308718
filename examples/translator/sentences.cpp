#include "sentences.hpp"

#include <algorithm>
#include <array>

namespace translator {
namespace {

using std::string_view;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }
bool is_small(char c) { return c >= 'a' && c <= 'z'; }
bool is_capital(char c) { return c >= 'A' && c <= 'Z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// The first of `marks` that `text` begins with, as its number of bytes; 0 for none.
template <std::size_t N>
std::size_t begins_with(string_view text, const std::array<string_view, N>& marks) {
  for (const string_view mark : marks)
    if (text.starts_with(mark)) return mark.size();
  return 0;
}

constexpr std::array<string_view, 4> ends{".", "!", "?", "…"};
constexpr std::array<string_view, 8> closing{"\"", "'", ")", "]", "”", "’", "»", "*"};
/// What a sentence goes on with.
constexpr std::array<string_view, 7> inside{",", ";", ":", ")", "]", "%", "&"};

// Words that have a full stop, in small letters: those that stand before a name, and before a
// number.
constexpr std::array<string_view, 22> titles{
    "mr",  "mrs", "ms",   "dr",   "prof",  "st",   "vs", "e.g", "i.e", "cf",  "sr",
    "sra", "dra", "srta", "exmo", "profa", "exma", "av", "gen", "gov", "rev", "capt"};
constexpr std::array<string_view, 8> numbered{"no", "fig", "vol", "p", "pp", "art", "cap", "n"};

template <std::size_t N>
bool is_among(string_view word, const std::array<string_view, N>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// Whether the full stop between `before`, a part of the line from a sentence's beginning, and
/// `after` is of a word.
bool is_of_word(string_view before, string_view after) {
  const std::size_t blank = before.find_last_of(" \t(\"'[");
  const string_view word = blank == before.npos ? before : before.substr(blank + 1);
  if (word.size() == 1 && is_capital(word[0]) && word != "I") return true;
  if (before == word && !word.empty() && std::all_of(word.begin(), word.end(), is_digit))
    return true;
  std::string small(word);
  for (char& c : small)
    if (is_capital(c)) c = static_cast<char>(c - 'A' + 'a');
  return is_among(small, titles) || (is_digit(after[0]) && is_among(small, numbered));
}

bool goes_on(string_view after) {
  if (is_small(after[0]) || begins_with(after, inside) > 0) return true;
  // Small letters with accents.
  return after.size() > 1 && after[0] == '\xC3' && static_cast<unsigned char>(after[1]) >= 0x9F;
}

}  // namespace

std::vector<std::string> sentences_of(string_view line) {
  std::vector<std::string> found;
  const auto add = [&](string_view part) {
    const std::size_t first = part.find_first_not_of(" \t\r");
    if (first == part.npos) return;
    found.emplace_back(part.substr(first, part.find_last_not_of(" \t\r") + 1 - first));
  };
  std::size_t begin = 0;
  for (std::size_t at = 0; at < line.size();) {
    std::size_t mark = begins_with(line.substr(at), ends);
    if (mark == 0) {
      ++at;
      continue;
    }
    const std::size_t first = at;
    for (; mark > 0; mark = begins_with(line.substr(at), ends)) at += mark;
    const bool single_stop = at == first + 1 && line[first] == '.';
    const std::size_t marks_end = at;
    for (std::size_t close = 1; close > 0; at += close)
      close = begins_with(line.substr(at), closing);
    const std::size_t next = line.find_first_not_of(" \t\r", at);
    if (next == line.npos) break;
    if (!is_blank(line[at]) || goes_on(line.substr(next))) continue;
    if (single_stop && marks_end == at &&
        is_of_word(line.substr(begin, first - begin), line.substr(next)))
      continue;
    add(line.substr(begin, at - begin));
    begin = at = next;
  }
  add(line.substr(begin));
  return found;
}

}  // namespace translator
