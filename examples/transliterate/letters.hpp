#pragma once

#include <algorithm>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <softlook/core/types.hpp>

namespace transliterate {

/// The letters that a model knows, numbered from 1; 0 fills a word up to its length.
class letters {
 public:
  /// One after the other, in UTF-8.
  explicit letters(std::string_view all) : known_(split(all)) {}

  /// \throws std::invalid_argument  for a letter that is not known, or more than `length`.
  std::vector<softlook::index> tokens(std::string_view word, std::size_t length) const {
    std::vector<softlook::index> out;
    for (const std::string& letter : split(word)) {
      const auto found = std::find(known_.begin(), known_.end(), letter);
      if (found == known_.end())
        throw std::invalid_argument("the model does not know the letter " + letter);
      out.push_back(found - known_.begin() + 1);
    }
    if (out.size() > length)
      throw std::invalid_argument("the word has " + std::to_string(out.size()) +
                                  " letters, the model takes " + std::to_string(length));
    out.resize(length);
    return out;
  }
  softlook::index token(std::string_view letter) const { return tokens(letter, 1).front(); }

  /// Nothing for a token that fills.
  std::string letter(softlook::index token) const {
    return token == 0 ? "" : known_.at(static_cast<std::size_t>(token) - 1);
  }

  /// A text cut where UTF-8 begins a character.
  static std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> out;
    for (const char c : text) {
      const bool continues = (static_cast<unsigned char>(c) & 0xC0) == 0x80;
      if (!continues || out.empty()) out.emplace_back();
      out.back() += c;
    }
    return out;
  }

 private:
  std::vector<std::string> known_;
};

}  // namespace transliterate
