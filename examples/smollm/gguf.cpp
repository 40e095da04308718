#include "gguf.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>

#include "examples/support/files.hpp"

namespace smollm {
namespace {

using examples::number_at;
using std::to_string;

constexpr std::uint32_t largest_rank = 4;
constexpr std::uint64_t default_alignment = 32, largest_alignment = 1U << 20;
constexpr std::size_t block_numbers = 32;
/// Of a key, a tensor's name, and of messages about them.
constexpr std::size_t longest_name = 65535;

/// The kinds of a value, by their numbers in a file.
enum value_kind : std::uint32_t {
  kind_u8,
  kind_i8,
  kind_u16,
  kind_i16,
  kind_u32,
  kind_i32,
  kind_f32,
  kind_bool,
  kind_text,
  kind_list,
  kind_u64,
  kind_i64,
  kind_f64
};

/// Bytes of a value that has always as many; 0 for others and for what is no kind.
std::size_t size_of_kind(std::uint32_t kind) {
  switch (kind) {
    case kind_u8:
    case kind_i8:
    case kind_bool:
      return 1;
    case kind_u16:
    case kind_i16:
      return 2;
    case kind_u32:
    case kind_i32:
    case kind_f32:
      return 4;
    case kind_u64:
    case kind_i64:
    case kind_f64:
      return 8;
    default:
      return 0;
  }
}

/// Numbers that are stored together, and in how many bytes.
struct block_form {
  std::size_t numbers;
  std::size_t bytes;
};

std::optional<block_form> form_of(std::uint32_t type) {
  switch (static_cast<tensor_type>(type)) {
    case tensor_type::f32:
      return block_form{1, 4};
    case tensor_type::f16:
      return block_form{1, 2};
    case tensor_type::q4_1:
      return block_form{block_numbers, 4 + block_numbers / 2};
    case tensor_type::q8_0:
      return block_form{block_numbers, 2 + block_numbers};
  }
  return std::nullopt;
}

/// In quotation marks, without control characters, and cut where it is absurdly long.
std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 100;
  std::string out = "\"";
  for (const char c : text.substr(0, longest))
    out += static_cast<unsigned char>(c) < 32 || c == 127 ? '?' : c;
  return out + (text.size() > longest ? "...\"" : "\"");
}

std::string listed(const std::vector<std::uint64_t>& numbers) {
  std::string out = "[";
  for (const std::uint64_t n : numbers) {
    if (out.size() > 1) out += ',';
    out += to_string(n);
  }
  return out + ']';
}

/// a · b unless that is more than 63 bits hold: extents become Eigen::Index, which is signed.
std::optional<std::uint64_t> product(std::uint64_t a, std::uint64_t b) {
  return examples::product(a, b, std::numeric_limits<std::int64_t>::max());
}

float half_at(const std::byte* at) {
  return static_cast<float>(Eigen::numext::bit_cast<Eigen::half>(number_at<std::uint16_t>(at)));
}

/// `count` numbers that begin with a block.
void widen(tensor_type type, const std::byte* from, std::size_t count, float* to) {
  if (count == 0) return;
  switch (type) {
    case tensor_type::f32:
      examples::numbers_at(from, std::span(to, count));
      return;
    case tensor_type::f16:
      for (std::size_t k = 0; k < count; ++k) to[k] = half_at(from + 2 * k);
      return;
    case tensor_type::q4_1:
      for (std::size_t k = 0; k < count; k += block_numbers, from += 4 + block_numbers / 2) {
        const float scale = half_at(from), least = half_at(from + 2);
        for (std::size_t b = 0; b < block_numbers / 2; ++b) {
          const auto both = std::to_integer<unsigned>(from[4 + b]);
          to[k + b] = scale * static_cast<float>(both & 15U) + least;
          to[k + b + block_numbers / 2] = scale * static_cast<float>(both >> 4U) + least;
        }
      }
      return;
    case tensor_type::q8_0:
      for (std::size_t k = 0; k < count; k += block_numbers, from += 2 + block_numbers) {
        const float scale = half_at(from);
        for (std::size_t b = 0; b < block_numbers; ++b)
          to[k + b] = scale * static_cast<float>(number_at<std::int8_t>(from + 2 + b));
      }
      return;
  }
}

}  // namespace

const char* name_of(tensor_type type) {
  switch (type) {
    case tensor_type::f32:
      return "F32";
    case tensor_type::f16:
      return "F16";
    case tensor_type::q4_1:
      return "Q4_1";
    case tensor_type::q8_0:
      return "Q8_0";
  }
  return "?";
}

/// Walks through the header; every step asks first whether the file is long enough.
class gguf::reader {
 public:
  reader(std::span<const std::byte> file, const std::string& name) : file_(file), name_(name) {}

  std::size_t position() const { return at_; }
  std::size_t left() const { return file_.size() - at_; }

  std::span<const std::byte> bytes(std::uint64_t count) {
    if (count > left())
      fail("the header needs " + to_string(count) + " bytes from byte " + to_string(at_) +
           " on but only " + to_string(left()) + " follow (is the file cut off?)");
    const auto part = file_.subspan(at_, static_cast<std::size_t>(count));
    at_ += part.size();
    return part;
  }
  template <class N>
  N number() {
    return number_at<N>(bytes(sizeof(N)).data());
  }
  std::string_view text() {
    const auto part = bytes(number<std::uint64_t>());
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  std::string name(const char* what) {
    const std::string_view found = text();
    if (found.size() > longest_name)
      fail(std::string(what) + " has " + to_string(found.size()) + " bytes, more than " +
           to_string(longest_name));
    return std::string(found);
  }
  gguf_value value(std::uint32_t kind, const std::string& key) {
    switch (kind) {
      case kind_u8:
        return std::uint64_t{number<std::uint8_t>()};
      case kind_i8:
        return std::int64_t{number<std::int8_t>()};
      case kind_u16:
        return std::uint64_t{number<std::uint16_t>()};
      case kind_i16:
        return std::int64_t{number<std::int16_t>()};
      case kind_u32:
        return std::uint64_t{number<std::uint32_t>()};
      case kind_i32:
        return std::int64_t{number<std::int32_t>()};
      case kind_u64:
        return number<std::uint64_t>();
      case kind_i64:
        return number<std::int64_t>();
      case kind_f32:
        return double(number<float>());
      case kind_f64:
        return number<double>();
      case kind_bool:
        return number<std::uint8_t>() != 0;
      case kind_text:
        return text();
      case kind_list:
        return list(key);
      default:
        fail("value " + in_quotes(key) + ": kind " + to_string(kind) + " is not known");
    }
  }
  [[noreturn]] void fail(const std::string& what) const { throw model_error(name_ + ": " + what); }

 private:
  gguf_value list(const std::string& key) {
    const auto kind = number<std::uint32_t>();
    const auto count = number<std::uint64_t>();
    // What is announced must be there before room is made for it; a text takes 8 bytes at least.
    const std::size_t each = kind == kind_text ? sizeof(std::uint64_t) : size_of_kind(kind);
    if (each == 0)
      fail("value " + in_quotes(key) + ": a list of kind " + to_string(kind) + " is not known");
    if (count > left() / each)
      fail("value " + in_quotes(key) + ": a list of " + to_string(count) +
           " entries does not fit the " + to_string(left()) +
           " bytes that follow (is the file cut off?)");
    if (kind != kind_text)
      return gguf_list{kind, static_cast<std::size_t>(count), bytes(count * each)};
    std::vector<std::string_view> texts(static_cast<std::size_t>(count));
    for (std::string_view& t : texts) t = text();
    return texts;
  }

  std::span<const std::byte> file_;
  const std::string& name_;
  std::size_t at_ = 0;
};

gguf::gguf(const std::filesystem::path& file) : name_(file.string()) {
  std::size_t size = 0;
  std::tie(mapping_, size) = examples::map_file(name_);
  read({mapping_.get(), size});
}

gguf::gguf(std::span<const std::byte> bytes, std::string name) : name_(std::move(name)) {
  read(bytes);
}

void gguf::read(std::span<const std::byte> file) {
  reader in(file, name_);
  constexpr std::uint32_t magic = 0x46554747, known_version = 3;  // "GGUF"
  if (file.size() < sizeof magic || in.number<std::uint32_t>() != magic)
    in.fail("it does not begin with GGUF");
  if (const auto version = in.number<std::uint32_t>(); version != known_version)
    in.fail("its version is " + to_string(version) + ", only 3 is read");
  const auto tensors = in.number<std::uint64_t>(), values = in.number<std::uint64_t>();
  for (std::uint64_t k = 0; k < values; ++k) {
    std::string key = in.name("a key");
    gguf_value value = in.value(in.number<std::uint32_t>(), key);
    if (!values_.emplace(key, std::move(value)).second)
      in.fail("value " + in_quotes(key) + " is given twice");
  }
  std::uint64_t alignment = default_alignment;
  if (values_.contains("general.alignment"))
    alignment = natural("general.alignment", largest_alignment);
  if (!std::has_single_bit(alignment))
    fail("general.alignment", "it is " + to_string(alignment) + ", not a power of two");

  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> places;  // offset, bytes
  for (std::uint64_t k = 0; k < tensors; ++k) {
    const std::string name = in.name("a tensor's name");
    const auto refuse = [&](const std::string& why) { fail(name, why); };
    const auto rank = in.number<std::uint32_t>();
    if (rank < 1 || rank > largest_rank)
      refuse("it has " + to_string(rank) + " dimensions, not 1 to " + to_string(largest_rank));
    gguf_tensor t{};
    for (std::uint32_t d = 0; d < rank; ++d) t.shape.push_back(in.number<std::uint64_t>());
    const auto type = in.number<std::uint32_t>();
    const auto offset = in.number<std::uint64_t>();
    const auto form = form_of(type);
    if (!form) refuse("type " + to_string(type) + " is not known (F32, F16, Q4_1 and Q8_0 are)");
    t.type = static_cast<tensor_type>(type);
    if (t.shape[0] % form->numbers != 0)
      refuse("a row of " + to_string(t.shape[0]) + " is not made of " + name_of(t.type) +
             " blocks of " + to_string(form->numbers));
    std::uint64_t count = 1;
    bool fits = true;
    for (const std::uint64_t extent : t.shape) {
      const auto next = product(count, extent);
      // A shape that is empty may still have an extent that no index can hold.
      fits = fits && next && product(extent, 1);
      count = next.value_or(0);
    }
    const auto bytes = fits ? product(count / form->numbers, form->bytes) : std::nullopt;
    if (!bytes) refuse("shape " + listed(t.shape) + " has more numbers than 63 bits can count");
    if (offset % alignment != 0)
      refuse("it begins at byte " + to_string(offset) +
             " of the data, which is not a multiple of " + to_string(alignment));
    places[name] = {offset, *bytes};
    if (!tensors_.emplace(name, std::move(t)).second) refuse("it is given twice");
  }

  const std::uint64_t header = in.position();
  const std::uint64_t begin = (header + alignment - 1) / alignment * alignment;
  const auto data =
      file.subspan(static_cast<std::size_t>(std::min<std::uint64_t>(begin, file.size())));
  std::vector<std::tuple<std::uint64_t, std::uint64_t, std::string>> order;
  for (const auto& [name, place] : places) {
    const auto [offset, bytes] = place;
    if (offset > data.size() || bytes > data.size() - offset)
      fail(name, "it takes " + to_string(bytes) + " bytes from byte " + to_string(offset) +
                     " of the data, which has " + to_string(data.size()) +
                     " (is the file cut off?)");
    tensors_.find(name)->second.bytes =
        data.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes));
    if (bytes > 0) order.emplace_back(offset, offset + bytes, name);
  }
  std::sort(order.begin(), order.end());
  for (std::size_t k = 1; k < order.size(); ++k)
    if (std::get<0>(order[k]) < std::get<1>(order[k - 1]))
      fail(std::get<2>(order[k]),
           "it lies over the tensor " + in_quotes(std::get<2>(order[k - 1])));
}

template <class V>
const V& gguf::value(std::string_view key, const char* kind) const {
  const auto found = values_.find(key);
  if (found == values_.end()) fail(key, "it is not in the file");
  const V* v = std::get_if<V>(&found->second);
  if (!v) fail(key, std::string("it is not ") + kind);
  return *v;
}

std::uint64_t gguf::natural(std::string_view key, std::uint64_t most) const {
  const auto found = values_.find(key);
  if (found == values_.end()) fail(key, "it is not in the file");
  std::uint64_t n = 0;
  if (const auto* u = std::get_if<std::uint64_t>(&found->second))
    n = *u;
  else if (const auto* i = std::get_if<std::int64_t>(&found->second); i && *i >= 0)
    n = static_cast<std::uint64_t>(*i);
  else
    fail(key, "it is not a natural number");
  if (n > most) fail(key, "it is " + to_string(n) + ", more than " + to_string(most));
  return n;
}

double gguf::number(std::string_view key) const { return value<double>(key, "a number"); }
std::string_view gguf::text(std::string_view key) const {
  return value<std::string_view>(key, "a text");
}
const std::vector<std::string_view>& gguf::texts(std::string_view key) const {
  return value<std::vector<std::string_view>>(key, "a list of texts");
}

std::vector<std::int32_t> gguf::numbers(std::string_view key) const {
  const gguf_list& list = value<gguf_list>(key, "a list of numbers");
  if (list.type != kind_i32 && list.type != kind_u32)
    fail(key, "it is not a list of whole numbers of 32 bits");
  std::vector<std::int32_t> out(list.count);
  examples::numbers_at(list.bytes.data(), std::span(out));
  return out;
}

const gguf_tensor& gguf::tensor(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fail(name, "it is not in the file");
  return found->second;
}

float_matrix gguf::matrix(std::string_view name, Eigen::Index rows, Eigen::Index cols) const {
  const gguf_tensor& t = tensor(name);
  const std::uint64_t found_cols = t.shape[0], found_rows = t.shape.size() > 1 ? t.shape[1] : 1;
  if (t.shape.size() > 2 || found_rows != static_cast<std::uint64_t>(rows) ||
      found_cols != static_cast<std::uint64_t>(cols))
    fail(name, "its shape is " + listed(t.shape) + " but the model needs rows of " +
                   to_string(cols) + ", " + to_string(rows) + " of them");
  float_matrix out(rows, cols);
  widen(t.type, t.bytes.data(), static_cast<std::size_t>(out.size()), out.data());
  return out;
}

void gguf::rows_into(std::string_view name, std::span<const int> rows, float_matrix& to) const {
  const gguf_tensor& t = tensor(name);
  if (t.shape.size() != 2) fail(name, "shape " + listed(t.shape) + " is not that of a matrix");
  to.resize(static_cast<Eigen::Index>(rows.size()), static_cast<Eigen::Index>(t.shape[0]));
  const std::size_t row_bytes =
      t.shape[1] > 0 ? t.bytes.size() / static_cast<std::size_t>(t.shape[1]) : 0;
  for (std::size_t k = 0; k < rows.size(); ++k) {
    if (rows[k] < 0 || static_cast<std::uint64_t>(rows[k]) >= t.shape[1])
      throw std::out_of_range("row " + to_string(rows[k]) + " of " + to_string(t.shape[1]));
    widen(t.type, t.bytes.data() + static_cast<std::size_t>(rows[k]) * row_bytes,
          static_cast<std::size_t>(t.shape[0]), to.row(static_cast<Eigen::Index>(k)).data());
  }
}

void gguf::fail(std::string_view what, const std::string& why) const {
  throw model_error(name_ + ": " + in_quotes(what) + ": " + why);
}

}  // namespace smollm
