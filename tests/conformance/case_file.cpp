#include "case_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <set>

namespace conformance {
namespace {

// The largest tensor of the collection has about 10^6 elements; anything far beyond it is a wrong
// or hostile file, refused before memory is asked for.
constexpr index largest_tensor = index{1} << 24;
constexpr std::size_t largest_rank = 8;

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> fields;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    fields.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return fields;
}

bool parse_integer(const std::string& token, long long& value) {
  if (token.find_first_not_of("+-0123456789") != std::string::npos) return false;
  char* end = nullptr;
  errno = 0;
  value = std::strtoll(token.c_str(), &end, 10);
  return !token.empty() && *end == '\0' && errno == 0;
}

std::uint64_t splitmix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

class parser {
 public:
  explicit parser(const std::filesystem::path& path) : file_(path, std::ios::binary) {
    case_.path = path;
    if (!file_) fail("the file cannot be opened");
  }

  case_file read() {
    read_origin();
    while (next_line("\"end\"") != "end") statement(split(line_));
    if (std::getline(file_, line_)) {
      ++number_;
      fail("there is text after \"end\"");
    }
    check_complete();
    return std::move(case_);
  }

 private:
  using fields = std::vector<std::string>;

  [[noreturn]] void fail(const std::string& what) const { case_.fail(number_, what); }

  const std::string& next_line(const std::string& wanted) {
    if (!std::getline(file_, line_)) {
      ++number_;
      fail("the file ends where " + wanted + " is expected");
    }
    ++number_;
    return line_;
  }

  void read_origin() {
    next_line("\"# origin: …\"");
    const bool sourced = line_.find(" | LITERAL") != std::string::npos ||
                         line_.find(" | COMPUTED") != std::string::npos;
    if (!line_.starts_with("# origin: ") || !sourced)
      fail("the first line must be \"# origin: … | LITERAL or COMPUTED | licence …\"");
    case_.origin = line_;
  }

  void statement(const fields& words) {
    const std::string& key = words[0];
    if (key.starts_with("#")) return;
    if (key == "case")
      take_word(words, case_.name);
    else if (key == "op")
      take_word(words, case_.op);
    else if (key == "tol")
      read_tolerance(words);
    else if (key == "attr")
      read_attribute(words);
    else if (key == "input")
      read_tensor(words, case_.inputs);
    else if (key == "weight")
      read_tensor(words, case_.weights);
    else if (key == "output")
      read_tensor(words, case_.outputs);
    else if (key == "geninput")
      generate(words);
    else if (key == "sample")
      read_sample(words);
    else
      fail("unknown keyword \"" + key.substr(0, 40) + "\"");
  }

  void take_word(const fields& words, std::string& target) const {
    if (words.size() != 2 || words[1].empty()) fail("\"" + words[0] + "\" takes one word");
    if (!target.empty()) fail("\"" + words[0] + "\" is given twice");
    target = words[1];
  }

  double number(const std::string& token) const {
    double value = 0;
    if (!parse_number(token, value)) fail("\"" + token.substr(0, 40) + "\" is not a number");
    return value;
  }

  double finite(const std::string& token) const {
    const double value = number(token);
    if (!std::isfinite(value)) fail("\"" + token + "\" is not finite");
    return value;
  }

  void read_tolerance(const fields& words) {
    if (words.size() != 3) fail("\"tol\" takes two numbers");
    if (has_tolerance_) fail("\"tol\" is given twice");
    has_tolerance_ = true;
    case_.relative_tolerance = finite(words[1]);
    case_.absolute_tolerance = finite(words[2]);
    if (case_.relative_tolerance < 0 || case_.absolute_tolerance < 0)
      fail("a tolerance is negative");
  }

  void read_attribute(const fields& words) {
    if (words.size() < 3) fail("\"attr\" takes a name and a value");
    std::string value = words[2];
    for (std::size_t i = 3; i < words.size(); ++i) value += ' ' + words[i];
    if (!case_.attributes.emplace(words[1], attribute{value, number_}).second)
      fail("attribute " + words[1] + " is given twice");
  }

  std::vector<index> shape_of(const fields& words, std::size_t first, std::size_t last) const {
    if (last - first > largest_rank) fail("a tensor has more than 8 dimensions");
    std::vector<index> shape;
    index count = 1;
    for (std::size_t i = first; i < last; ++i) {
      long long extent = 0;
      if (!parse_integer(words[i], extent)) fail("\"" + words[i] + "\" is not a dimension");
      if (extent < 0) fail("dimension " + words[i] + " is negative");
      if (extent > largest_tensor) fail("dimension " + words[i] + " is too large");
      shape.push_back(static_cast<index>(extent));
      if (extent != 0 && count > largest_tensor / extent)
        fail("the tensor has more than " + std::to_string(largest_tensor) + " elements");
      count *= std::max<index>(extent, 1);
    }
    return shape;
  }

  static index count_of(const std::vector<index>& shape) {
    index count = 1;
    for (const index extent : shape) count *= extent;
    return count;
  }

  void check_dtype(const std::string& dtype) const {
    static const std::set<std::string> known = {
        "float64", "float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool"};
    if (known.count(dtype) == 0) fail("unknown dtype \"" + dtype.substr(0, 40) + "\"");
  }

  void check_name(const std::string& name) const {
    if (name.empty()) fail("a tensor has no name");
    const bool result = case_.outputs.count(name) != 0 || case_.samples.count(name) != 0;
    if (result || case_.inputs.count(name) != 0 || case_.weights.count(name) != 0)
      fail("tensor " + name + " is given twice");
  }

  double element(const std::string& token, const std::string& dtype) const {
    const double value = number(token);
    // Nine digits name a float, not the double nearest to them.
    if (dtype == "float32" && std::isfinite(value)) {
      const float nearest = std::strtof(token.c_str(), nullptr);
      if (!std::isfinite(nearest)) fail("\"" + token + "\" is too large for float32");
      return static_cast<double>(nearest);
    }
    const bool real =
        dtype == "float64" || dtype == "float32" || dtype == "float16" || dtype == "bfloat16";
    if (dtype == "bool" && token != "0" && token != "1") fail("a bool is 0 or 1, not " + token);
    const double exact = std::ldexp(1.0, std::numeric_limits<double>::digits);
    if (!real && !(std::floor(value) == value && std::abs(value) <= exact))
      fail("\"" + token + "\" is not an integer that a double holds");
    return value;
  }

  /// Counts as it reads, so a huge declared size costs nothing beyond the line that is there.
  template <class Read>
  void read_values(const std::string& name, index count, const Read& read) {
    next_line("the values of " + name);
    index seen = 0;
    if (!line_.empty()) {
      for (const std::string& token : split(line_)) {
        if (seen == count) fail(name + " has more than " + std::to_string(count) + " values");
        read(token);
        ++seen;
      }
    }
    if (seen != count)
      fail(name + " has " + std::to_string(seen) + " values, its shape asks for " +
           std::to_string(count));
  }

  void read_tensor(const fields& words, std::map<std::string, tensor>& target) {
    if (words.size() < 3) fail("\"" + words[0] + "\" takes a name, a dtype and dimensions");
    check_name(words[1]);
    check_dtype(words[2]);
    tensor t;
    t.dtype = words[2];
    t.line = number_;
    t.shape = shape_of(words, 3, words.size());
    read_values(words[1], count_of(t.shape),
                [&](const std::string& token) { t.values.push_back(element(token, t.dtype)); });
    target.emplace(words[1], std::move(t));
  }

  void generate(const fields& words) {
    const std::size_t size = words.size();
    const bool well_formed = size >= 9 && words[2] == "float64" && words[size - 6] == "seed" &&
                             words[size - 4] == "lo" && words[size - 2] == "hi";
    if (!well_formed) fail("\"geninput\" takes name float64 dimensions seed s lo a hi b");
    check_name(words[1]);
    long long seed = 0;
    if (!parse_integer(words[size - 5], seed) || seed < 0) fail("the seed is not a natural number");
    const double lo = finite(words[size - 3]);
    const double hi = finite(words[size - 1]);
    tensor t;
    t.dtype = words[2];
    t.line = number_;
    t.shape = shape_of(words, 3, size - 6);
    const index count = count_of(t.shape);
    t.values.reserve(static_cast<std::size_t>(count));
    std::uint64_t state = static_cast<std::uint64_t>(seed);
    for (index i = 0; i < count; ++i) {
      state += 0x9E3779B97F4A7C15u;
      const double unit = std::ldexp(static_cast<double>(splitmix64(state) >> 11), -53);
      t.values.push_back(lo + (hi - lo) * unit);
    }
    case_.inputs.emplace(words[1], std::move(t));
  }

  void read_sample(const fields& words) {
    if (words.size() < 3) fail("\"sample\" takes a name, a dtype and dimensions");
    const std::string name = words[1];
    check_name(name);
    if (words[2] != "float64") fail("a sample is float64, not \"" + words[2].substr(0, 40) + "\"");
    sample s;
    s.shape = shape_of(words, 3, words.size());
    const fields sums = split(next_line("the sums of " + name));
    long long count = 0;
    const bool well_formed = sums.size() == 6 && sums[0] == "sum" && sums[2] == "abssum" &&
                             sums[4] == "count" && parse_integer(sums[5], count);
    if (!well_formed) fail("a sample starts with \"sum s abssum a count k\"");
    s.sum = finite(sums[1]);
    s.absolute_sum = finite(sums[3]);
    const index elements = count_of(s.shape);
    if (count < 0 || count > elements) fail("a sample has more values than its tensor");
    read_values(name, static_cast<index>(count), [&](const std::string& token) {
      long long at = 0;
      if (!parse_integer(token, at) || at < 0 || at >= elements)
        fail("position " + token.substr(0, 40) + " is outside the tensor");
      if (!s.positions.empty() && at <= s.positions.back()) fail("the positions do not increase");
      s.positions.push_back(static_cast<index>(at));
    });
    read_values(name, static_cast<index>(count),
                [&](const std::string& token) { s.values.push_back(number(token)); });
    case_.samples.emplace(name, std::move(s));
  }

  void check_complete() const {
    if (case_.op.empty()) fail("the case names no op");
    if (!has_tolerance_) fail("the case gives no tol");
    if (case_.name + ".case" != case_.path.filename().string())
      fail("the case is named \"" + case_.name.substr(0, 80) + "\", its file is not");
    if (case_.outputs.empty() && case_.samples.empty()) fail("the case expects no output");
  }

  std::ifstream file_;
  std::string line_;
  int number_ = 0;
  bool has_tolerance_ = false;
  case_file case_;
};

const tensor& find(const case_file& c, const std::map<std::string, tensor>& tensors,
                   const std::string& kind, const std::string& key) {
  const auto found = tensors.find(key);
  if (found == tensors.end()) c.fail(1, c.op + " needs the " + kind + " " + key);
  c.read_.insert(kind + ' ' + key);
  return found->second;
}

/// The value of an attribute that is there; null otherwise.
const attribute* find(const case_file& c, const std::string& key) {
  const auto found = c.attributes.find(key);
  if (found == c.attributes.end()) return nullptr;
  c.read_.insert("attribute " + key);
  return &found->second;
}

const tensor& of_rank(const case_file& c, const tensor& t, const std::string& key, index rank) {
  if (t.rank() != rank)
    c.fail(t.line, key + " has " + std::to_string(t.rank()) + " dimensions, " + c.op + " takes " +
                       std::to_string(rank));
  return t;
}

}  // namespace

bool parse_number(const std::string& token, double& value) {
  // strtod alone would take hexadecimal numbers, leading blanks and "infinity" besides.
  if (token == "nan" || token == "inf" || token == "-inf") {
    value = std::strtod(token.c_str(), nullptr);
    return true;
  }
  if (token.empty() || token.find_first_not_of("+-.0123456789eE") != std::string::npos)
    return false;
  char* end = nullptr;
  value = std::strtod(token.c_str(), &end);
  return *end == '\0' && std::isfinite(value);
}

void case_file::fail(int line, const std::string& what) const {
  throw case_error(path.string() + ":" + std::to_string(line) + ": " + what);
}

const tensor& case_file::input(const std::string& key) const {
  return find(*this, inputs, "input", key);
}

const tensor& case_file::weight(const std::string& key) const {
  return find(*this, weights, "weight", key);
}

const tensor& case_file::input(const std::string& key, index rank) const {
  return of_rank(*this, input(key), key, rank);
}

const tensor& case_file::weight(const std::string& key, index rank) const {
  return of_rank(*this, weight(key), key, rank);
}

std::string case_file::text(const std::string& key, const std::string& otherwise) const {
  const attribute* const found = find(*this, key);
  return found == nullptr ? otherwise : found->value;
}

double case_file::number(const std::string& key, double otherwise) const {
  const attribute* const found = find(*this, key);
  if (found == nullptr) return otherwise;
  double value = 0;
  if (!parse_number(found->value, value))
    fail(found->line, "attribute " + key + " is not a number");
  return value;
}

index case_file::integer(const std::string& key, index otherwise) const {
  const attribute* const found = find(*this, key);
  if (found == nullptr) return otherwise;
  const double value = number(key, 0);
  // Sizes and offsets are 32-bit in the library; a larger one cannot be meant.
  if (!(std::floor(value) == value && std::abs(value) <= std::numeric_limits<int>::max() / 2))
    fail(found->line, "attribute " + key + " is not a small integer");
  return static_cast<index>(value);
}

std::vector<case_part> case_file::unread() const {
  std::vector<case_part> parts;
  const auto collect = [&](const std::string& kind, const auto& named) {
    for (const auto& [key, part] : named)
      if (read_.count(kind + ' ' + key) == 0) parts.push_back({kind, key, part.line});
  };
  collect("attribute", attributes);
  collect("input", inputs);
  collect("weight", weights);
  return parts;
}

case_file read_case(const std::filesystem::path& path) { return parser(path).read(); }

}  // namespace conformance
