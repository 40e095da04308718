#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/characters/model.hpp"
#include "examples/support/files.hpp"

namespace characters {

/// A text as numbers of its characters, of which the last tenth is held out: no step sees it.
struct corpus {
  std::string known;  ///< its characters in order, each once
  std::vector<std::int32_t> ids;

  [[nodiscard]] std::size_t learned() const { return ids.size() - ids.size() / 10; }
  /// The character's number, or −1.
  [[nodiscard]] std::int32_t id_of(char c) const {
    const auto at = std::lower_bound(known.begin(), known.end(), c);
    return at == known.end() || *at != c ? -1 : std::int32_t(at - known.begin());
  }
  /// \throws examples::model_error  for a text with a character that is not known.
  [[nodiscard]] std::vector<std::int32_t> ids_of(std::string_view text) const {
    std::vector<std::int32_t> all;
    for (const char c : text) {
      all.push_back(id_of(c));
      if (all.back() < 0)
        throw examples::model_error("character " + std::to_string(all.size()) +
                                    " of the beginning does not occur in the text");
    }
    return all;
  }
};

inline corpus corpus_of(std::string_view text) {
  corpus c;
  c.known = text;
  std::sort(c.known.begin(), c.known.end());
  c.known.erase(std::unique(c.known.begin(), c.known.end()), c.known.end());
  c.ids = c.ids_of(text);
  return c;
}

/// \throws examples::model_error  if the file cannot be read, or has less than 10,000 characters.
inline corpus read_corpus(const std::filesystem::path& path) {
  const auto bytes = examples::bytes_of_file(path);
  if (bytes.size() < 10'000)
    throw examples::model_error(path.string() + ": the text has " + std::to_string(bytes.size()) +
                                " characters, fewer than 10000");
  return corpus_of({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

/// Pieces of a text one behind the other, and of each character the one that follows it.
struct batch {
  index length = 64, pieces = 4;
  std::vector<std::int32_t> text, wanted;

  void clear() {
    text.clear();
    wanted.clear();
  }
  void add(std::span<const std::int32_t> ids, std::size_t from) {
    const auto first = ids.begin() + std::ptrdiff_t(from);
    text.insert(text.end(), first, first + length);
    wanted.insert(wanted.end(), first + 1, first + length + 1);
  }
  /// Pieces from anywhere in what is learned from.
  void draw(const corpus& c, examples::generator& random) {
    clear();
    for (index k = 0; k < pieces; ++k)
      add(c.ids, std::size_t(random.below(std::int64_t(c.learned()) - length)));
  }
};

}  // namespace characters
