#include "onnx_file.hpp"

#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "examples/support/files.hpp"

namespace vit {
namespace {

using examples::product;
using std::to_string;
using bytes = std::span<const std::byte>;

constexpr std::size_t largest_rank = 8;
constexpr std::uint64_t float_type = 1;

/// In quotation marks, with what no terminal should get escaped, and cut where it is absurdly long.
std::string shown(std::string_view text) {
  constexpr std::size_t longest = 100;
  constexpr char digits[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text.substr(0, longest)) {
    const auto code = static_cast<unsigned char>(c);
    if (code >= 0x20 && code < 0x7F && c != '"' && c != '\\')
      out += c;
    else
      out += {'\\', 'x', digits[code >> 4], digits[code & 15]};
  }
  return out + (text.size() > longest ? "...\"" : "\"");
}

std::string listed(const shape& numbers) {
  std::string out = "[";
  for (const std::uint64_t n : numbers) {
    if (out.size() > 1) out += ',';
    out += to_string(n);
  }
  return out + ']';
}

std::string_view text_of(bytes b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

/// The bytes of one element; nothing for what has no fixed size or is not known.
std::optional<std::uint64_t> size_of(std::uint64_t data_type) {
  switch (data_type) {
    case 2:  // uint8
    case 3:  // int8
    case 9:  // bool
      return 1;
    case 4:   // uint16
    case 5:   // int16
    case 10:  // float16
    case 16:  // bfloat16
      return 2;
    case float_type:
    case 6:   // int32
    case 12:  // uint32
      return 4;
    case 7:   // int64
    case 11:  // double
    case 13:  // uint64
    case 14:  // complex64
      return 8;
    case 15:  // complex128
      return 16;
    default:
      return std::nullopt;
  }
}

/// What elements of so many bytes take, unless that is more than 64 bits hold.
std::optional<std::uint64_t> size_of(std::uint64_t element, const shape& dims) {
  std::optional<std::uint64_t> size = element;
  for (const std::uint64_t extent : dims) size = size ? product(*size, extent) : std::nullopt;
  return size;
}

/// Where a message stops being one, in bytes from its start.
struct malformed {
  std::size_t position;
  const char* what;
};

/// The fields of a message one after the other. \throws malformed
class field_reader {
 public:
  enum kind : unsigned { varint = 0, eight_bytes = 1, length_delimited = 2, four_bytes = 5 };

  explicit field_reader(bytes message) : message_(message) {}

  /// Moves on to the next field; false at the end.
  bool next() {
    if (position_ == message_.size()) return false;
    const std::size_t start = position_;
    const std::uint64_t key = read_varint();
    number_ = key >> 3;
    kind_ = static_cast<unsigned>(key & 7);
    constexpr std::uint64_t largest_number = (1u << 29) - 1;  // protobuf allows no more
    if (number_ == 0 || number_ > largest_number) throw malformed{start, "no number of a field"};
    switch (kind_) {
      case varint:
        value_ = read_varint();
        break;
      case eight_bytes:
        content_ = take(8);
        break;
      case length_delimited:
        content_ = take(read_varint());
        break;
      case four_bytes:
        content_ = take(4);
        break;
      default:
        throw malformed{start, "a kind of field that ONNX does not use"};
    }
    return true;
  }

  [[nodiscard]] bool is(std::uint64_t number, kind k) const {
    return number_ == number && kind_ == k;
  }
  [[nodiscard]] std::uint64_t value() const { return value_; }
  [[nodiscard]] bytes content() const { return content_; }

  /// A number in a message that is nothing but numbers: a packed list.
  std::uint64_t next_number() { return read_varint(); }
  [[nodiscard]] bool at_end() const { return position_ == message_.size(); }

 private:
  std::uint64_t read_varint() {
    const std::size_t start = position_;
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (position_ == message_.size()) throw malformed{start, "a number that is cut off"};
      const auto b = std::to_integer<std::uint64_t>(message_[position_++]);
      if (shift == 63 && b > 1) break;
      value |= (b & 0x7F) << shift;
      if (b < 0x80) return value;
    }
    throw malformed{start, "a number of more than 64 bits"};
  }

  bytes take(std::uint64_t length) {
    if (length > message_.size() - position_)
      throw malformed{position_, "a field that is longer than what follows (is the file cut off?)"};
    const bytes taken = message_.subspan(position_, static_cast<std::size_t>(length));
    position_ += taken.size();
    return taken;
  }

  bytes message_;
  std::size_t position_ = 0;
  std::uint64_t number_ = 0, value_ = 0;
  unsigned kind_ = varint;
  bytes content_;
};

void add_dimension(onnx_tensor& t, std::uint64_t extent) {
  if (t.dims.size() == largest_rank) throw malformed{0, "more than 8 dimensions"};
  // Extents are signed in the file and become Eigen::Index.
  if (extent > std::uint64_t(std::numeric_limits<Eigen::Index>::max()))
    throw malformed{0, "a negative dimension"};
  t.dims.push_back(extent);
}

}  // namespace

onnx_file::onnx_file(const std::filesystem::path& file)
    : name_(file.string()), bytes_(examples::bytes_of_file(file)) {
  read(bytes_);
}

onnx_file::onnx_file(std::span<const std::byte> file, std::string name) : name_(std::move(name)) {
  read(file);
}

void onnx_file::read(std::span<const std::byte> file) {
  bool has_graph = false;
  try {
    for (field_reader model(file); model.next();) {
      if (!model.is(7, field_reader::length_delimited)) continue;
      if (std::exchange(has_graph, true)) throw malformed{0, "a second graph"};
      read_graph(model.content());
    }
  } catch (const malformed& m) {
    throw model_error(name_ + ": this is not an ONNX file: at byte " + to_string(m.position) +
                      " of a message there is " + m.what);
  }
  if (!has_graph) throw model_error(name_ + ": this is not an ONNX file: it has no graph");
}

void onnx_file::read_graph(std::span<const std::byte> message) {
  for (field_reader graph(message); graph.next();) {
    if (graph.is(1, field_reader::length_delimited)) read_node(graph.content());
    if (graph.is(5, field_reader::length_delimited)) read_tensor(graph.content());
  }
}

void onnx_file::read_node(std::span<const std::byte> message) {
  std::string name;
  std::vector<std::string_view> inputs;
  for (field_reader node(message); node.next();) {
    if (node.is(1, field_reader::length_delimited)) inputs.push_back(text_of(node.content()));
    if (node.is(3, field_reader::length_delimited)) name = text_of(node.content());
  }
  if (name.empty()) return;
  if (!nodes_.emplace(name, std::move(inputs)).second)
    throw model_error(name_ + ": node " + shown(name) + ": it is given twice");
}

void onnx_file::read_tensor(std::span<const std::byte> message) {
  onnx_tensor t;
  std::string name;
  bool has_bytes = false;
  for (field_reader tensor(message); tensor.next();) {
    if (tensor.is(1, field_reader::varint)) add_dimension(t, tensor.value());
    if (tensor.is(1, field_reader::length_delimited))
      for (field_reader list(tensor.content()); !list.at_end();)
        add_dimension(t, list.next_number());
    if (tensor.is(2, field_reader::varint)) t.data_type = tensor.value();
    if (tensor.is(8, field_reader::length_delimited)) name = text_of(tensor.content());
    if (tensor.is(9, field_reader::length_delimited)) {
      t.bytes = tensor.content();
      has_bytes = true;
    }
  }
  const auto fail = [&](const std::string& what) {
    throw model_error(name_ + ": tensor " + shown(name) + ": " + what);
  };
  const auto element = size_of(t.data_type);
  if (has_bytes && !element)
    fail("data type " + to_string(t.data_type) + " has no size that is known here");
  if (has_bytes) {
    const auto size = size_of(*element, t.dims);
    if (!size) fail("dimensions " + listed(t.dims) + " are more than 64 bits can count");
    if (*size != t.bytes.size())
      fail("it has " + to_string(t.bytes.size()) + " bytes but type " + to_string(t.data_type) +
           ' ' + listed(t.dims) + " takes " + to_string(*size));
  }
  if (tensors_.count(name) != 0) fail("it is given twice");
  tensors_.emplace(std::move(name), std::move(t));
}

std::string onnx_file::input(const std::string& node, std::size_t number) const {
  const auto found = nodes_.find(node);
  if (found == nodes_.end())
    throw model_error(name_ + ": node " + shown(node) + ": it is not in the file");
  if (number >= found->second.size())
    throw model_error(name_ + ": node " + shown(node) + ": it has " +
                      to_string(found->second.size()) + " inputs, input " + to_string(number) +
                      " counted from 0 is needed");
  return std::string(found->second[number]);
}

float_matrix onnx_file::matrix(const std::string& tensor, const shape& dims,
                               Eigen::Index rows) const {
  const auto fail = [&](const std::string& what) {
    throw model_error(name_ + ": tensor " + shown(tensor) + ": " + what);
  };
  const auto found = tensors_.find(tensor);
  if (found == tensors_.end()) fail("it is not in the file");
  const onnx_tensor& t = found->second;
  if (t.data_type != float_type)
    fail("it is of data type " + to_string(t.data_type) + ", only floats (1) are read as a matrix");
  if (t.dims != dims) fail("it is " + listed(t.dims) + " but the model needs " + listed(dims));
  // The bytes were checked against the dimensions, if the file has any.
  if (size_of(sizeof(float), dims) != t.bytes.size()) fail("its numbers are not kept as raw_data");
  const auto size = static_cast<Eigen::Index>(t.bytes.size() / sizeof(float));
  if (rows < 1 || size % rows != 0)
    fail(to_string(size) + " numbers are not " + to_string(rows) + " rows of one length");
  float_matrix numbers(rows, size / rows);
  examples::numbers_at(t.bytes.data(), std::span(numbers.data(), static_cast<std::size_t>(size)));
  return numbers;
}

}  // namespace vit
