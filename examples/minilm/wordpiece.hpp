#pragma once

#include <cstddef>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "examples/support/model_error.hpp"

namespace minilm {

using examples::model_error;

/// BERT's tokenizer: text -> [CLS], the longest known pieces of each word from left to right,
/// [SEP].
///
///     "The animal didn't embed."  ->  [CLS] the animal didn ' t em ##bed . [SEP]
///
/// \see Wu et al., "Google's Neural Machine Translation System", 2016, section 4.1 (WordPiece);
///      Devlin et al., "BERT", 2019. The cleaning of text follows the model's tokenizer.json.
/// Equal to the Python package tokenizers 0.23 on every text of characters that both know: that
/// package's tables are of Unicode 8, and 568 code points have been assigned or changed since in
/// ways that show.
class wordpiece {
 public:
  /// What the model was trained with; longer texts are cut.
  static constexpr std::size_t longest_input = 256;

  /// Reads vocab.txt: a token for each line, whose number, from 0, is the token's id.
  /// \throws model_error
  explicit wordpiece(const std::filesystem::path& vocabulary);

  /// The same from a stream; `name` stands for the file in messages.
  /// \throws model_error
  wordpiece(std::istream& vocabulary, const std::string& name);

  /// The ids of a text, [CLS] and [SEP] included, at most `limit` and at least those two. Bytes
  /// that are not UTF-8 are passed over; a special token that is written out, as "[MASK]", is
  /// itself. Cost: linear in the text's length.
  std::vector<int> encode(std::string_view text, std::size_t limit = longest_input) const;

  /// The token as the vocabulary writes it: "the", "##bed", "[CLS]".
  /// \throws std::out_of_range  unless 0 <= id < size().
  const std::string& token(int id) const { return tokens_.at(static_cast<std::size_t>(id)); }
  std::vector<std::string> tokens(const std::vector<int>& ids) const;
  std::size_t size() const { return tokens_.size(); }

 private:
  // Looked up by std::string_view without making a string.
  struct hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using lookup = std::unordered_map<std::string, int, hash, std::equal_to<>>;

  void read(std::istream& vocabulary, const std::string& name);
  void add_words(std::string_view text, std::size_t limit, std::vector<int>& out) const;
  void add_pieces(const std::u32string& word, std::vector<int>& out) const;

  std::vector<std::string> tokens_;
  lookup specials_;          // [PAD] [UNK] [CLS] [SEP] [MASK]
  lookup beginnings_;        // tokens that begin a word
  lookup continuations_;     // "##bed", kept as "bed"
  std::size_t longest_ = 0;  // bytes of the longest token
  int unknown_ = 0, first_ = 0, last_ = 0;
};

}  // namespace minilm
