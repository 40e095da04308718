#include "marian_file.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "examples/support/files.hpp"

namespace translator {
namespace {

using Eigen::Index;
using examples::number_at;
using examples::product;
using std::to_string;

constexpr std::uint64_t version = 1;
constexpr std::uint64_t int8 = 0x0101, float32 = 0x0404, integers_with_scale = 0x4101;
constexpr std::uint64_t most_extents = 8;

/// Control characters and bytes beyond ASCII are left out: the text is for a message.
std::string in_quotes(const std::string& text) {
  constexpr std::size_t longest = 100;
  std::string shown;
  for (const char c : text.substr(0, longest)) shown += c >= ' ' && c <= '~' ? c : '?';
  return '"' + shown + (text.size() > longest ? "...\"" : "\"");
}

std::string listed(const std::vector<Index>& extents) {
  std::string out;
  for (const Index extent : extents) {
    out += out.empty() ? '[' : 'x';
    out += to_string(extent);
  }
  return out.empty() ? "[]" : out + ']';
}

/// What has not been read of a file.
class reader {
 public:
  reader(std::span<const std::byte> bytes, const std::string& name) : left_(bytes), name_(name) {}

  std::span<const std::byte> take(std::uint64_t count, const std::string& what) {
    if (count > left_.size())
      fail(what + " takes " + to_string(count) + " bytes but only " + to_string(left_.size()) +
           " are left (is the file cut off?)");
    const auto taken = left_.first(static_cast<std::size_t>(count));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  std::uint64_t number(const std::string& what) {
    return number_at<std::uint64_t>(take(8, what).data());
  }
  std::size_t left() const { return left_.size(); }

  [[noreturn]] void fail(const std::string& what) const { throw model_error(name_ + ": " + what); }

 private:
  std::span<const std::byte> left_;
  const std::string& name_;
};

struct header {
  std::uint64_t name_length, type, extents, data_length;
};

std::vector<header> read_headers(reader& in) {
  constexpr std::uint64_t size = 4 * 8;
  const std::uint64_t found = in.number("the version");
  if (found != version)
    in.fail("the version is " + to_string(found) + ", only 1 is known (is this a Marian file?)");
  const std::uint64_t count = in.number("the number of items");
  if (count > in.left() / size)
    in.fail("there should be " + to_string(count) + " items but only " + to_string(in.left()) +
            " bytes follow (is the file cut off?)");
  std::vector<header> headers(static_cast<std::size_t>(count));
  for (header& h : headers)
    h = {in.number("a header"), in.number("a header"), in.number("a header"),
         in.number("a header")};
  return headers;
}

/// The bytes that type and shape ask for; nothing where the type is not known here.
std::optional<std::uint64_t> bytes_of(std::uint64_t type, std::uint64_t elements) {
  switch (type) {
    case int8:
      return elements;
    case integers_with_scale:
      return elements <= std::numeric_limits<std::uint64_t>::max() - sizeof(float)
                 ? elements + sizeof(float)
                 : elements;
    case float32:
      return product(elements, sizeof(float)).value_or(std::numeric_limits<std::uint64_t>::max());
    default:
      return std::nullopt;
  }
}

}  // namespace

marian_file::marian_file(const std::filesystem::path& file)
    : marian_file(examples::bytes_of_file(file), file.string()) {}

marian_file::marian_file(std::vector<std::byte> bytes, std::string name)
    : name_(std::move(name)), bytes_(std::move(bytes)) {
  read();
}

void marian_file::read() {
  reader in(bytes_, name_);
  const std::vector<header> headers = read_headers(in);
  std::vector<marian_item*> items;
  std::vector<std::string> names;
  for (const header& h : headers) {
    const auto bytes = in.take(h.name_length, "the name of an item");
    std::string name(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    name.erase(std::min(name.find('\0'), name.size()));
    const auto [at, is_new] = items_.emplace(name, marian_item{});
    if (!is_new) fail(name, "it is given twice");
    at->second.type = h.type;
    items.push_back(&at->second);
    names.push_back(std::move(name));
  }
  std::vector<std::uint64_t> elements(headers.size(), 1);
  for (std::size_t k = 0; k < headers.size(); ++k) {
    if (headers[k].extents > most_extents)
      fail(names[k], "it has " + to_string(headers[k].extents) + " extents, more than the " +
                         to_string(most_extents) + " allowed");
    for (std::uint64_t e = 0; e < headers[k].extents; ++e) {
      const auto extent = number_at<std::int32_t>(in.take(4, "a shape").data());
      if (extent < 0) fail(names[k], "an extent is " + to_string(extent));
      items[k]->shape.push_back(extent);
      const auto more = product(elements[k], static_cast<std::uint64_t>(extent));
      if (!more)
        fail(names[k],
             "shape " + listed(items[k]->shape) + " has more elements than 64 bits count");
      elements[k] = *more;
    }
  }
  in.take(in.number("the length of the gap"), "the gap before the data");
  for (std::size_t k = 0; k < headers.size(); ++k) {
    items[k]->bytes = in.take(headers[k].data_length, "item " + in_quotes(names[k]));
    const auto wanted = bytes_of(headers[k].type, elements[k]);
    if (wanted && *wanted > headers[k].data_length)
      fail(names[k], "shape " + listed(items[k]->shape) + " takes " + to_string(*wanted) +
                         " bytes but it has " + to_string(headers[k].data_length));
  }
  if (in.left() > 0) in.fail(to_string(in.left()) + " bytes follow the last item");
}

const marian_item& marian_file::item(const std::string& name) const {
  const auto found = items_.find(name);
  if (found == items_.end()) fail(name, "it is not in the file");
  return found->second;
}

std::pair<Index, Index> marian_file::size(const std::string& name) const {
  const marian_item& found = item(name);
  if (found.shape.size() != 2) fail(name, "shape " + listed(found.shape) + " is not of a matrix");
  return {found.shape[0], found.shape[1]};
}

const marian_item& marian_file::matrix(const std::string& name, std::uint64_t type, Index rows,
                                       Index cols) const {
  const auto found = size(name);
  const marian_item& m = item(name);
  if (m.type != type)
    fail(name, "its type is " + to_string(m.type) + ", the model needs " + to_string(type));
  if (found != std::pair(rows, cols))
    fail(name, "it is " + to_string(found.first) + "x" + to_string(found.second) +
                   " but the model needs " + to_string(rows) + "x" + to_string(cols));
  return m;
}

float_matrix marian_file::floats(const std::string& name, Index rows, Index cols) const {
  const marian_item& m = matrix(name, float32, rows, cols);
  float_matrix out(rows, cols);
  examples::numbers_at(m.bytes.data(), std::span(out.data(), static_cast<std::size_t>(out.size())));
  return out;
}

integer_matrix marian_file::integers(const std::string& name, Index rows, Index cols,
                                     order lies) const {
  const marian_item& m = matrix(name, integers_with_scale, rows, cols);
  const auto scale = number_at<float>(m.bytes.data() + rows * cols);
  if (!(scale > 0 && std::isfinite(scale)))
    fail(name, "its scale is " + to_string(scale) + ", not a positive number");
  const bool by_rows = lies == order::by_rows;
  const integer_matrix::stride stride(by_rows ? 1 : rows, by_rows ? cols : 1);
  return {{reinterpret_cast<const std::int8_t*>(m.bytes.data()), rows, cols, stride}, scale};
}

std::string marian_file::text(const std::string& name) const {
  const marian_item& found = item(name);
  if (found.type != int8) fail(name, "its type is " + to_string(found.type) + ", not of text");
  std::string out(reinterpret_cast<const char*>(found.bytes.data()), found.bytes.size());
  out.erase(std::min(out.find('\0'), out.size()));
  return out;
}

void marian_file::fail(const std::string& item, const std::string& what) const {
  throw model_error(name_ + ": item " + in_quotes(item) + ": " + what);
}

}  // namespace translator
