#include "examples/support/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <tuple>
#include <utility>

#include "examples/support/files.hpp"

namespace examples {
namespace {

using json = nlohmann::json;
using std::to_string;

// As in the reference implementation: a larger header is taken for an attack on the reader's
// memory.
constexpr std::uint64_t largest_header = 100'000'000;
constexpr std::size_t largest_rank = 8;
constexpr std::size_t length_bytes = 8;

/// In quotation marks, with control characters escaped, and cut where it is absurdly long.
std::string quoted(const std::string& text) {
  constexpr std::size_t longest = 100;
  const std::string shown = text.size() > longest ? text.substr(0, longest) + "..." : text;
  return json(shown).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string listed(const std::vector<std::uint64_t>& numbers) { return json(numbers).dump(); }

/// The bytes of one element; nothing for a dtype that the format does not have.
std::optional<std::uint64_t> size_of(const std::string& dtype) {
  static const std::map<std::string, std::uint64_t> sizes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1},
      {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},     {"U32", 4},
      {"F32", 4},  {"I64", 8}, {"U64", 8}, {"F64", 8},     {"C64", 8}};
  const auto found = sizes.find(dtype);
  return found == sizes.end() ? std::nullopt : std::optional(found->second);
}

/// What the header says of a tensor.
struct entry {
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::vector<std::uint64_t> offsets;
};

/// Reads the header event by event: what does not belong there is refused where it stands, before
/// a hostile header has cost more memory than its own length.
///
///     {"__metadata__": {"key": "text", …},
///      "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
class header_reader final : public json::json_sax_t {
 public:
  explicit header_reader(std::string file) : file_(std::move(file)) {}

  std::map<std::string, entry> entries;
  std::map<std::string, std::string> metadata;

  bool start_object(std::size_t) override {
    if (depth_ == 2) refuse("an object");
    ++depth_;
    return true;
  }

  bool end_object() override {
    if (depth_ == 2 && !in_metadata()) finish_tensor();
    --depth_;
    return true;
  }

  bool key(std::string& name) override {
    if (depth_ == 1)
      start_entry(name);
    else
      start_field(name);
    return true;
  }

  bool string(std::string& value) override {
    if (depth_ == 2 && in_metadata())
      metadata[field_] = value;
    else if (depth_ == 2 && field_ == "dtype")
      entries.at(name_).dtype = value;
    else
      refuse("a string");
    return true;
  }

  bool start_array(std::size_t) override {
    if (in_list_ || depth_ != 2 || !takes_list()) refuse("a list");
    in_list_ = true;
    return true;
  }

  bool end_array() override {
    in_list_ = false;
    return true;
  }

  bool number_unsigned(std::uint64_t value) override {
    if (!in_list_) refuse("a number");
    const bool is_shape = field_ == "shape";
    entry& e = entries.at(name_);
    auto& list = is_shape ? e.shape : e.offsets;
    if (is_shape && list.size() == largest_rank)
      fail("it has more than " + to_string(largest_rank) + " dimensions");
    if (!is_shape && list.size() == 2) fail("data_offsets has more than two numbers");
    list.push_back(value);
    return true;
  }

  bool number_integer(std::int64_t value) override {
    return refuse("the negative number " + to_string(value));
  }
  bool number_float(double, const std::string& text) override {
    return refuse("the number " + text.substr(0, 40) + ", no whole one of at most 64 bits");
  }
  bool null() override { return refuse("null"); }
  bool boolean(bool) override { return refuse("a truth value"); }
  bool binary(json::binary_t&) override { return refuse("binary data"); }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    throw model_error(file_ + ": the header is not JSON at its byte " + to_string(position));
  }

 private:
  bool in_metadata() const { return name_ == "__metadata__"; }
  bool takes_list() const {
    return !in_metadata() && (field_ == "shape" || field_ == "data_offsets");
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw model_error(file_ + ": tensor " + quoted(name_) + ": " + what);
  }

  [[noreturn]] bool refuse(const std::string& value) const {
    if (depth_ == 1) fail("it is " + value + ", not an object");
    if (in_metadata()) fail(quoted(field_) + " is " + value + ", not a string");
    if (in_list_) fail(field_ + " holds " + value);
    fail(field_ + " is " + value + ", not a " + (takes_list() ? "list" : "string"));
  }

  void start_entry(const std::string& name) {
    name_ = name;
    given_.clear();
    if (in_metadata() ? std::exchange(has_metadata_, true) : entries.count(name) != 0)
      fail("it is given twice");
    if (!in_metadata()) entries[name];
  }

  void start_field(const std::string& field) {
    field_ = field;
    if (in_metadata()) {
      if (metadata.count(field) != 0) fail(quoted(field) + " is given twice");
      return;
    }
    if (field != "dtype" && field != "shape" && field != "data_offsets")
      fail("it has a field " + quoted(field) + " that the format does not know");
    if (std::find(given_.begin(), given_.end(), field) != given_.end())
      fail(field + " is given twice");
    given_.push_back(field);
  }

  void finish_tensor() const {
    for (const char* field : {"dtype", "shape", "data_offsets"})
      if (std::find(given_.begin(), given_.end(), field) == given_.end())
        fail(std::string(field) + " is missing");
    if (entries.at(name_).offsets.size() != 2) fail("data_offsets has fewer than two numbers");
  }

  std::string file_;
  std::string name_;                // of the entry
  std::string field_;               // inside the entry
  std::vector<std::string> given_;  // fields of the entry so far
  int depth_ = 0;                   // of objects
  bool in_list_ = false;
  bool has_metadata_ = false;
};

/// The header's text, when the file is long enough for the length that it declares.
std::span<const std::byte> header_of(std::span<const std::byte> file, const std::string& name) {
  const auto fail = [&name](const std::string& what) { throw model_error(name + ": " + what); };
  if (file.size() < length_bytes)
    fail("the file has " + to_string(file.size()) + " bytes, the length of the header takes 8");
  const auto length = number_at<std::uint64_t>(file.data());
  if (length > largest_header)
    fail("the header should have " + to_string(length) + " bytes, more than the " +
         to_string(largest_header) + " allowed (is this a safetensors file?)");
  const std::size_t rest = file.size() - length_bytes;
  if (length > rest)
    fail("the header should have " + to_string(length) + " bytes but only " + to_string(rest) +
         " follow (is the file cut off?)");
  const auto header = file.subspan(length_bytes, static_cast<std::size_t>(length));
  if (header.empty() || header.front() != std::byte{'{'}) fail("the header does not start with {");
  return header;
}

/// The part of the data that a tensor takes, when it is as long as dtype and shape say.
raw_tensor checked(const entry& e, std::span<const std::byte> data, const auto& fail) {
  const std::uint64_t begin = e.offsets[0], end = e.offsets[1];
  if (begin > end) fail("data_offsets " + listed(e.offsets) + " end before they begin");
  if (end > data.size())
    fail("it ends at byte " + to_string(end) + " of the data, which has " + to_string(data.size()) +
         " (is the file cut off?)");
  const auto element = size_of(e.dtype);
  if (!element) fail("unknown dtype " + quoted(e.dtype));
  std::optional<std::uint64_t> bytes = element;
  for (const std::uint64_t extent : e.shape) {
    // Extents become Eigen::Index, which is signed.
    const bool fits = extent <= std::uint64_t(std::numeric_limits<Eigen::Index>::max());
    bytes = bytes && fits ? product(*bytes, extent) : std::nullopt;
  }
  if (!bytes) fail("shape " + listed(e.shape) + " has more elements than 64 bits can count");
  if (*bytes != end - begin)
    fail("data_offsets " + listed(e.offsets) + " hold " + to_string(end - begin) + " bytes but " +
         e.dtype + ' ' + listed(e.shape) + " takes " + to_string(*bytes));
  const auto first = static_cast<std::size_t>(begin);
  return {e.dtype, e.shape, data.subspan(first, static_cast<std::size_t>(end - begin))};
}

}  // namespace

safetensors::safetensors(const std::filesystem::path& file) : name_(file.string()) {
  std::size_t size = 0;
  std::tie(mapping_, size) = map_file(name_);
  read({mapping_.get(), size});
}

safetensors::safetensors(std::span<const std::byte> bytes, std::string name)
    : name_(std::move(name)) {
  read(bytes);
}

void safetensors::read(std::span<const std::byte> file) {
  const auto text = header_of(file, name_);
  const auto* first = reinterpret_cast<const char*>(text.data());
  header_reader header(name_);
  json::sax_parse(first, first + text.size(), &header);
  metadata_ = std::move(header.metadata);

  const auto data = file.subspan(length_bytes + text.size());
  // No lists of numbers: libstdc++ 12 compares them wrongly where the first byte is the highest.
  std::vector<std::tuple<std::uint64_t, std::uint64_t, std::string>> places;
  for (auto& [name, e] : header.entries) {
    const auto in_tensor = [&](const std::string& what) { fail(name, what); };
    tensors_.emplace(name, checked(e, data, in_tensor));
    places.emplace_back(e.offsets[0], e.offsets[1], name);
  }
  std::sort(places.begin(), places.end());
  std::uint64_t end = 0;
  for (const auto& [first_byte, end_byte, name] : places) {
    if (first_byte != end)
      fail(name, "it begins at byte " + to_string(first_byte) + " of the data but the one before " +
                     "it ends at byte " + to_string(end) + " (neither gaps nor overlap allowed)");
    end = end_byte;
  }
  if (end != data.size())
    throw model_error(name_ + ": " + to_string(data.size() - end) +
                      " bytes follow the last tensor");
  copy_floats();
}

void safetensors::copy_floats() {
  for (const auto& [name, t] : tensors_) {
    const auto address = reinterpret_cast<std::uintptr_t>(t.bytes.data());
    const bool in_place =
        std::endian::native == std::endian::little && address % alignof(float) == 0;
    if (t.dtype != "F32" || in_place) continue;
    std::vector<float>& copy = copies_[name];
    copy.resize(t.bytes.size() / sizeof(float));
    numbers_at(t.bytes.data(), std::span(copy));
  }
}

const raw_tensor& safetensors::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fail(name, "it is not in the file");
  return found->second;
}

Eigen::Map<const float_matrix> safetensors::matrix(const std::string& name) const {
  const raw_tensor& t = tensor(name);
  if (t.dtype != "F32") fail(name, "it is " + t.dtype + ", only F32 is read as a matrix");
  if (t.shape.size() > 2) fail(name, "shape " + listed(t.shape) + " is not that of a matrix");
  const auto extent = [&t](std::size_t from_last) {
    const std::size_t rank = t.shape.size();
    return rank > from_last ? static_cast<Eigen::Index>(t.shape[rank - 1 - from_last]) : 1;
  };
  const auto copy = copies_.find(name);
  const float* const numbers =
      copy == copies_.end() ? reinterpret_cast<const float*>(t.bytes.data()) : copy->second.data();
  return {numbers, extent(1), extent(0)};
}

Eigen::Map<const float_matrix> safetensors::matrix(const std::string& name, Eigen::Index rows,
                                                   Eigen::Index cols) const {
  const Eigen::Map<const float_matrix> found = matrix(name);
  if (found.rows() != rows || found.cols() != cols)
    fail(name, "it is " + to_string(found.rows()) + "x" + to_string(found.cols()) +
                   " but the model needs " + to_string(rows) + "x" + to_string(cols));
  return found;
}

void safetensors::check_matrix(const std::string& name, const raw_tensor& t, const char* dtype,
                               Eigen::Index rows, Eigen::Index cols) const {
  if (t.dtype != dtype) fail(name, "it is " + t.dtype + " but the program needs " + dtype);
  const std::vector<std::uint64_t> shape = {static_cast<std::uint64_t>(rows),
                                            static_cast<std::uint64_t>(cols)};
  if (t.shape != shape)
    fail(name, "its shape is " + listed(t.shape) + " but the program needs " + listed(shape));
}

void safetensors::fail(const std::string& name, const std::string& what) const {
  throw model_error(name_ + ": tensor " + quoted(name) + ": " + what);
}

std::byte* safetensors_writer::place(const std::string& name, const char* dtype,
                                     std::vector<std::uint64_t> shape, std::size_t bytes) {
  for (const written& t : tensors_)
    if (t.name == name) throw model_error("the tensor " + quoted(name) + " is added twice");
  const std::size_t begin = data_.size();
  data_.resize(begin + bytes);
  tensors_.push_back({name, dtype, std::move(shape), begin, begin + bytes});
  return data_.data() + begin;
}

std::string safetensors_writer::header() const {
  json all = json::object();
  if (!metadata_.empty()) all["__metadata__"] = metadata_;
  for (const written& t : tensors_)
    all[t.name] = {{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {t.begin, t.end}}};
  std::string text = all.dump();
  // So that the numbers of a file that is mapped lie at multiples of their size.
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

void safetensors_writer::write(const std::filesystem::path& file) const {
  const auto fail = [&file](const std::string& what) {
    throw model_error(file.string() + ": the file cannot be written" + what);
  };
  const std::string text = header();
  std::byte length[length_bytes];
  put_number(static_cast<std::uint64_t>(text.size()), length);
  const std::filesystem::path part = file.string() + ".part";
  {
    std::ofstream out(part, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(length), sizeof length);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    out.write(reinterpret_cast<const char*>(data_.data()),
              static_cast<std::streamsize>(data_.size()));
    out.close();
    if (!out) fail("");
  }
  std::error_code error;
  std::filesystem::rename(part, file, error);
  if (error) fail(": " + error.message());
}

}  // namespace examples
