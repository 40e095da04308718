#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "examples/support/model_error.hpp"

namespace translator {

using examples::model_error;

/// What characters become before a text is cut: a double array of bytes, whose leaves say where in
/// a list of texts the replacement begins.
///
/// \see Aoe, "An Efficient Digital Search Algorithm by Using a Double-Array Structure", 1989; the
///      layout is that of the library Darts-clone.
class character_map {
 public:
  character_map() = default;
  /// `name` stands for the file in messages.
  /// \throws model_error  unless sizes fit; offsets are checked where they are used.
  character_map(std::string_view bytes, const std::string& name);

  struct match {
    std::string_view text{};  ///< the replacement
    std::size_t length = 0;   ///< bytes that it replaces; 0: none
  };
  /// The longest beginning of a text that is replaced.
  match longest_prefix(std::string_view text) const;

 private:
  std::vector<std::uint32_t> units_;
  std::string texts_;
};

/// A unigram model of SentencePiece: a text is cut into the pieces whose log-probabilities have the
/// largest sum. Pieces that begin a word begin with "▁", which stands for a blank.
///
///     "The black cat."  ->  ▁The ▁black ▁cat .
///
/// \see Kudo, "Subword Regularization", 2018, section 3.2; Kudo and Richardson, "SentencePiece",
///      2018. The file is a protocol buffer, src/sentencepiece_model.proto in the repository
///      google/sentencepiece; so are the treatment of blanks and of unknown characters.
class sentencepiece {
 public:
  /// \throws model_error
  explicit sentencepiece(const std::filesystem::path& file);

  /// Reads bytes, whatever they are; `name` stands for the file in messages.
  /// \throws model_error
  sentencepiece(std::span<const std::byte> bytes, const std::string& name);

  /// Bytes that are not UTF-8 are each the character U+FFFD. A run of unknown characters is one
  /// unknown piece. Cost: characters × those of the longest piece.
  std::vector<int> encode(std::string_view text) const;

  /// The text of pieces; control pieces have none, unknown ones are "⁇".
  /// \throws std::out_of_range  as piece().
  std::string decode(std::span<const int> ids) const;

  /// The text as it is before it is cut: characters replaced, a "▁" for each run of blanks between
  /// words and one in front.
  std::string normalized(std::string_view text) const;

  /// \throws std::out_of_range  unless 0 <= id < size().
  const std::string& piece(int id) const { return pieces_.at(static_cast<std::size_t>(id)).text; }
  int size() const { return static_cast<int>(pieces_.size()); }
  int unknown() const { return unknown_; }
  /// The id of a piece, or unknown().
  int id_of(std::string_view piece) const;

  static constexpr std::string_view blank = "\u2581";

 private:
  enum class kind { normal = 1, unknown, control, user_defined, unused, byte };
  struct entry {
    std::string text;
    double score = 0;
    sentencepiece::kind kind = kind::normal;
  };
  // Looked up by std::string_view without making a string.
  struct hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  class file_reader;

  void index_pieces(const std::string& name);
  double score_of(int id, std::size_t bytes) const;
  std::size_t normalize_prefix(std::string_view text, std::string_view& out) const;

  std::vector<entry> pieces_;
  std::unordered_map<std::string, int, hash, std::equal_to<>> ids_;
  character_map characters_;
  bool blank_in_front_ = true, blanks_as_one_ = true, blanks_escaped_ = true;
  std::size_t longest_ = 0;  // bytes of the longest piece
  double lowest_ = 0, highest_ = 0;
  int unknown_ = -1;
};

}  // namespace translator
