#include "sentencepiece.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "examples/support/files.hpp"

namespace translator {
namespace {

using examples::number_at;
using std::to_string;

constexpr std::string_view replacement = "\uFFFD";
constexpr double unknown_penalty = 10;  // below the least probable piece

/// The bytes of the character that a text begins with, or 0 where they are not UTF-8.
std::size_t character_length(std::string_view text) {
  const auto byte = [text](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  if (text.empty()) return 0;
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (std::size_t k = 1; k < length; ++k)
    if ((byte(k) & 0xC0) != 0x80) return 0;
  const unsigned second = byte(1);
  const bool too_long = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool surrogate = first == 0xED && second > 0x9F;
  const bool too_large = first == 0xF4 && second > 0x8F;
  return too_long || surrogate || too_large ? 0 : length;
}

/// The same for a text that is not empty and is walked through whatever it is.
std::size_t step(std::string_view text) { return std::max<std::size_t>(character_length(text), 1); }

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = character_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

/// A field of a message: a number, or bytes.
struct field {
  std::uint64_t tag = 0;  // the number of the field and how it is written
  std::uint64_t number = 0;
  std::span<const std::byte> bytes{};
};

enum wire : std::uint64_t { varint = 0, eight_bytes = 1, with_length = 2, four_bytes = 5 };

constexpr std::uint64_t tag_of(std::uint64_t number, wire type) { return number << 3 | type; }

/// The fields of a message of a protocol buffer, one after the other.
class message_reader {
 public:
  message_reader(std::span<const std::byte> bytes, const std::string& name)
      : left_(bytes), name_(name) {}

  bool done() const { return left_.empty(); }

  field next() {
    field f;
    f.tag = number();
    if (f.tag >> 3 == 0) fail("a field has the number 0");
    switch (f.tag & 7) {
      case varint:
        f.number = number();
        break;
      case eight_bytes:
        f.bytes = take(8);
        break;
      case with_length:
        f.bytes = take(number());
        break;
      case four_bytes:
        f.bytes = take(4);
        break;
      default:
        fail("a field is written in the way " + to_string(f.tag & 7) + ", which is not known");
    }
    return f;
  }

  [[noreturn]] void fail(const std::string& what) const { throw model_error(name_ + ": " + what); }

 private:
  std::span<const std::byte> take(std::uint64_t count) {
    if (count > left_.size())
      fail("a field takes " + to_string(count) + " bytes but only " + to_string(left_.size()) +
           " are left (is the file cut off?)");
    const auto taken = left_.first(static_cast<std::size_t>(count));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = std::to_integer<std::uint64_t>(take(1).front());
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
    fail("a number has more than 64 bits");
  }

  std::span<const std::byte> left_;
  const std::string& name_;
};

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

character_map::character_map(std::string_view bytes, const std::string& name) {
  constexpr std::size_t unit = sizeof(std::uint32_t);
  const auto fail = [&](const std::string& what) {
    throw model_error(name + ": the map of characters " + what);
  };
  if (bytes.size() < unit) fail("has " + to_string(bytes.size()) + " bytes, its length takes 4");
  const auto all = std::as_bytes(std::span(bytes));
  const std::size_t length = number_at<std::uint32_t>(all.data());
  if (length % unit != 0 || length > bytes.size() - unit)
    fail("should have " + to_string(length) + " bytes, a multiple of 4, and " +
         to_string(bytes.size() - unit) + " follow");
  units_.resize(length / unit);
  examples::numbers_at(all.data() + unit, std::span(units_));
  texts_ = bytes.substr(unit + length);
}

character_map::match character_map::longest_prefix(std::string_view text) const {
  const auto offset = [](std::uint32_t u) { return std::size_t{u >> 10} << ((u >> 9 & 1) * 8); };
  match found;
  if (units_.empty()) return found;
  std::size_t node = offset(units_[0]);
  for (std::size_t k = 0; k < text.size(); ++k) {
    const auto byte = static_cast<unsigned char>(text[k]);
    node ^= byte;
    if (node >= units_.size()) break;
    const std::uint32_t u = units_[node];
    if ((u & (1U << 31 | 0xFF)) != byte) break;
    node ^= offset(u);
    const bool is_leaf = (u >> 8 & 1) != 0;
    if (!is_leaf) continue;
    if (node >= units_.size()) break;
    const std::size_t at = units_[node] & ((1U << 31) - 1);
    if (at >= texts_.size()) break;
    const std::string_view rest = std::string_view(texts_).substr(at);
    found = {rest.substr(0, rest.find('\0')), k + 1};
  }
  return found;
}

/// Puts what it reads into the model that it is made for.
class sentencepiece::file_reader {
 public:
  file_reader(sentencepiece& to, const std::string& name) : to_(to), name_(name) {}

  void read(std::span<const std::byte> bytes) {
    message_reader in(bytes, name_);
    while (!in.done()) {
      const field f = in.next();
      if (f.tag == tag_of(1, with_length)) read_piece(f.bytes);
      if (f.tag == tag_of(2, with_length)) read_training(f.bytes);
      if (f.tag == tag_of(3, with_length)) read_normalizer(f.bytes);
    }
  }

 private:
  void read_piece(std::span<const std::byte> bytes) {
    constexpr std::size_t most = 1'000'000;  // far beyond any model of this kind
    const std::size_t id = to_.pieces_.size();
    const auto fail = [&](const std::string& what) {
      throw model_error(name_ + ": piece " + to_string(id) + ": " + what);
    };
    if (id == most) fail("there are more than the " + to_string(most) + " allowed");
    message_reader in(bytes, name_);
    entry e;
    while (!in.done()) {
      const field f = in.next();
      if (f.tag == tag_of(1, with_length)) e.text = text_of(f.bytes);
      if (f.tag == tag_of(2, four_bytes)) e.score = double(number_at<float>(f.bytes.data()));
      if (f.tag != tag_of(3, varint)) continue;
      if (f.number < 1 || f.number > 6)
        fail("its type is " + to_string(f.number) + ", known are 1 to 6");
      e.kind = static_cast<kind>(f.number);
    }
    if (e.text.empty()) fail("it has no text");
    if (!is_utf8(e.text)) fail("its text is not UTF-8");
    if (!std::isfinite(e.score)) fail("its score is not finite");
    to_.pieces_.push_back(std::move(e));
  }

  void read_training(std::span<const std::byte> bytes) const {
    constexpr std::uint64_t unigram = 1;
    message_reader in(bytes, name_);
    while (!in.done()) {
      const field f = in.next();
      if (f.tag == tag_of(3, varint) && f.number != unigram)
        in.fail("the model is of type " + to_string(f.number) + ", only 1, unigram, is known here");
      if (f.tag == tag_of(24, varint) && f.number != 0)
        in.fail("blanks end words, only blanks that begin words are known here");
      if (f.tag == tag_of(35, varint) && f.number != 0)
        in.fail("unknown characters become bytes, which is not known here");
    }
  }

  void read_normalizer(std::span<const std::byte> bytes) {
    message_reader in(bytes, name_);
    while (!in.done()) {
      const field f = in.next();
      if (f.tag == tag_of(2, with_length) && !f.bytes.empty())
        to_.characters_ = character_map(text_of(f.bytes), name_);
      if (f.tag == tag_of(3, varint)) to_.blank_in_front_ = f.number != 0;
      if (f.tag == tag_of(4, varint)) to_.blanks_as_one_ = f.number != 0;
      if (f.tag == tag_of(5, varint)) to_.blanks_escaped_ = f.number != 0;
    }
  }

  sentencepiece& to_;
  const std::string& name_;
};

sentencepiece::sentencepiece(const std::filesystem::path& file)
    : sentencepiece(examples::bytes_of_file(file), file.string()) {}

sentencepiece::sentencepiece(std::span<const std::byte> bytes, const std::string& name) {
  file_reader(*this, name).read(bytes);
  index_pieces(name);
}

void sentencepiece::index_pieces(const std::string& name) {
  lowest_ = std::numeric_limits<double>::infinity();
  highest_ = -lowest_;
  for (std::size_t k = 0; k < pieces_.size(); ++k) {
    const entry& e = pieces_[k];
    const auto fail = [&](const std::string& what) {
      throw model_error(name + ": piece " + to_string(k) + ": " + what);
    };
    const auto [found, is_new] = ids_.emplace(e.text, static_cast<int>(k));
    if (!is_new) fail("the text of piece " + to_string(found->second) + " again");
    if (e.kind == kind::unknown && unknown_ >= 0)
      fail("it is unknown, as piece " + to_string(unknown_) + " is");
    if (e.kind == kind::unknown) unknown_ = static_cast<int>(k);
    longest_ = std::max(longest_, e.text.size());
    if (e.kind != kind::normal) continue;
    lowest_ = std::min(lowest_, e.score);
    highest_ = std::max(highest_, e.score);
  }
  if (unknown_ < 0) throw model_error(name + ": no piece is the unknown one");
  if (lowest_ > highest_) throw model_error(name + ": no piece is a normal one");
}

int sentencepiece::id_of(std::string_view piece) const {
  const auto found = ids_.find(piece);
  return found == ids_.end() ? unknown_ : found->second;
}

/// The bytes of the character, or of more, that a text begins with, and what they become.
std::size_t sentencepiece::normalize_prefix(std::string_view text, std::string_view& out) const {
  const character_map::match found = characters_.longest_prefix(text);
  const std::size_t length = found.length > 0 ? found.length : character_length(text);
  out = found.length > 0 ? found.text : length > 0 ? text.substr(0, length) : replacement;
  return std::max<std::size_t>(length, 1);
}

std::string sentencepiece::normalized(std::string_view text) const {
  const std::string_view written = blanks_escaped_ ? blank : " ";
  std::string out;
  bool after_blank = blanks_as_one_;
  const auto add = [&](std::string_view part) {
    for (const char c : part) {
      if (c == ' ' && after_blank && blanks_as_one_) continue;
      if (c == ' ')
        out += written;
      else
        out += c;
      after_blank = c == ' ';
    }
  };
  while (!text.empty()) {
    std::string_view part;
    text.remove_prefix(normalize_prefix(text, part));
    add(part);
  }
  while (blanks_as_one_ && out.ends_with(written)) out.erase(out.size() - written.size());
  if (blank_in_front_ && !out.empty()) out.insert(0, written);
  return out;
}

/// Of a piece of so many bytes, when it may be a part of a text.
double sentencepiece::score_of(int id, std::size_t bytes) const {
  const entry& e = pieces_[static_cast<std::size_t>(id)];
  if (e.kind == kind::normal) return e.score;
  // A user's piece is preferred to what it could be cut into.
  if (e.kind == kind::user_defined) return double(bytes) * highest_ - 0.1;
  return -std::numeric_limits<double>::infinity();
}

std::vector<int> sentencepiece::encode(std::string_view text) const {
  const std::string all = normalized(text);
  constexpr double unreached = -std::numeric_limits<double>::infinity();
  struct place {
    double score = unreached;
    std::size_t from = 0;
    int id = 0;
  };
  std::vector<place> best(all.size() + 1);
  best[0].score = 0;
  const auto offer = [&](std::size_t from, std::size_t to, int id, double score) {
    if (best[from].score + score > best[to].score) best[to] = {best[from].score + score, from, id};
  };
  for (std::size_t i = 0; i < all.size(); i += step(std::string_view(all).substr(i))) {
    const std::string_view rest = std::string_view(all).substr(i);
    const std::size_t first = step(rest);
    bool alone = false;  // whether the next character is a piece
    for (std::size_t n = first; n <= std::min(longest_, rest.size());) {
      const auto found = ids_.find(rest.substr(0, n));
      const double score = found == ids_.end() ? unreached : score_of(found->second, n);
      if (score > unreached) {
        offer(i, i + n, found->second, score);
        alone = alone || n == first;
      }
      if (n == rest.size()) break;
      n += step(rest.substr(n));
    }
    if (!alone) offer(i, i + first, unknown_, lowest_ - unknown_penalty);
  }
  std::vector<int> ids;
  for (std::size_t at = all.size(); at > 0; at = best[at].from)
    if (best[at].id != unknown_ || ids.empty() || ids.back() != unknown_)
      ids.push_back(best[at].id);
  std::reverse(ids.begin(), ids.end());
  return ids;
}

std::string sentencepiece::decode(std::span<const int> ids) const {
  std::string joined;
  for (const int id : ids) {
    const entry& e = pieces_.at(static_cast<std::size_t>(id));
    if (e.kind == kind::control) continue;
    joined += e.kind == kind::unknown ? " \u2047 " : e.text;
  }
  std::string out;
  for (std::string_view rest = joined; !rest.empty();) {
    const bool is_blank = rest.starts_with(blank);
    out += is_blank ? ' ' : rest.front();
    rest.remove_prefix(is_blank ? blank.size() : 1);
  }
  out.erase(0, std::min(out.find_first_not_of(' '), out.size()));
  out.erase(out.find_last_not_of(' ') + 1);
  return out;
}

}  // namespace translator
