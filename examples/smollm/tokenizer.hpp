#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gguf.hpp"

namespace smollm {

/// Byte-level BPE, as GPT-2 and SmolLM2 have it: text is cut into words, each digit apart, and the
/// bytes of a word are joined, the pair that was learned first before others, until no pair is
/// known.
///
///     "Room 42."  ->  Room | ␣ | 4 | 2 | .
///
/// \see Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016,
///      section 3.2 (BPE); Radford et al., "Language Models are Unsupervised Multitask Learners",
///      2019, section 2.2 (bytes).
/// Every text can be cut, whatever its bytes are: what is not UTF-8 is neither letter, digit nor
/// space; a byte that is no token (of the model's, some control characters) is left out. Cost: n
/// log n for a word of n bytes.
class tokenizer {
 public:
  /// Reads tokenizer.ggml.tokens, .token_type and .merges.
  /// \throws model_error  unless each merge joins two tokens to a token.
  explicit tokenizer(const gguf& file);

  /// Parts: tokens as a file writes them, which stands bytes for characters; the special ones, that
  /// are written as they are; "left right" pairs in the order in which they were learned.
  tokenizer(const std::vector<std::string_view>& tokens, const std::vector<bool>& special,
            const std::vector<std::string_view>& merges, const std::string& name);

  /// The ids of a text in which special tokens are not looked for: a user's words.
  std::vector<int> encode(std::string_view text) const;
  /// The same where special tokens that are written out, as "<|im_start|>", are themselves.
  std::vector<int> encode_with_specials(std::string_view text) const;

  /// The bytes of a token, which may be a part of a character; those of a special one are its name.
  /// \throws std::out_of_range  unless 0 <= id < size().
  const std::string& bytes(int id) const { return bytes_.at(static_cast<std::size_t>(id)); }
  bool is_special(int id) const { return special_.at(static_cast<std::size_t>(id)); }
  /// The text of tokens without special ones.
  std::string decode(const std::vector<int>& ids) const;
  std::size_t size() const { return bytes_.size(); }
  /// The id of a special token. \throws model_error  if there is none of this name.
  int special(std::string_view name) const;

 private:
  // Looked up by std::string_view without making a string.
  struct hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using lookup = std::unordered_map<std::string, int, hash, std::equal_to<>>;
  struct merge {
    int rank;
    int joined;
  };

  void add_words(std::string_view text, std::vector<int>& out) const;
  void add_pieces(std::string_view word, std::vector<int>& out) const;
  const merge* merge_of(int left, int right) const;

  std::string name_;
  std::vector<std::string> bytes_;
  std::vector<bool> special_;
  lookup specials_;
  std::size_t longest_special_ = 0;
  int of_byte_[256] = {};
  std::unordered_map<std::uint64_t, merge> merges_;
};

/// The end of the longest part of `text` that is no broken beginning of a character of UTF-8: what
/// may be shown before the rest has come.
std::size_t whole_characters(std::string_view text);

}  // namespace smollm
