#pragma once

#include <Eigen/Core>
#include <filesystem>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace conformance {

using index = Eigen::Index;

/// A case that cannot be read or does not fit its operation; the text starts with "file:line: ".
struct case_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Row-major values of any dtype. double holds every value that the format allows exactly.
struct tensor {
  std::string dtype;
  std::vector<index> shape;
  std::vector<double> values;
  int line = 0;

  index rank() const { return static_cast<index>(shape.size()); }
  bool is_bool() const { return dtype == "bool"; }
  bool is_half() const { return dtype == "float16" || dtype == "bfloat16"; }
};

/// An expected tensor too large to be written whole: its sums, and its values at some positions.
struct sample {
  std::vector<index> shape;
  double sum = 0;
  double absolute_sum = 0;
  std::vector<index> positions;
  std::vector<double> values;
};

struct attribute {
  std::string value;
  int line = 0;
};

/// A part of a case: an attribute, an input or a weight.
struct case_part {
  std::string kind;
  std::string name;
  int line = 0;
};

/// One `.case` file. The accessors throw case_error, so that a case that lacks what its operation
/// needs is reported with its place instead of read out of bounds. They also note what was asked
/// for: what an adapter leaves unread it cannot have computed. Asking whether a part is there is
/// not reading it.
struct case_file {
  std::filesystem::path path;
  std::string origin;
  std::string name;
  std::string op;
  double relative_tolerance = 0;
  double absolute_tolerance = 0;
  std::map<std::string, attribute> attributes;
  std::map<std::string, tensor> inputs;
  std::map<std::string, tensor> weights;
  std::map<std::string, tensor> outputs;
  std::map<std::string, sample> samples;

  [[noreturn]] void fail(int line, const std::string& what) const;

  bool has_input(const std::string& key) const { return inputs.count(key) != 0; }
  bool has_weight(const std::string& key) const { return weights.count(key) != 0; }
  bool expects(const std::string& key) const {
    return outputs.count(key) != 0 || samples.count(key) != 0;
  }
  const tensor& input(const std::string& key) const;
  const tensor& weight(const std::string& key) const;
  /// The same with the rank that the operation prescribes.
  const tensor& input(const std::string& key, index rank) const;
  const tensor& weight(const std::string& key, index rank) const;

  bool has(const std::string& key) const { return attributes.count(key) != 0; }
  std::string text(const std::string& key, const std::string& otherwise = "") const;
  double number(const std::string& key, double otherwise) const;
  index integer(const std::string& key, index otherwise) const;
  bool flag(const std::string& key) const { return number(key, 0) != 0; }
  bool implementation_defined() const { return flag("implementation_defined"); }

  void forget_what_was_read() const { read_.clear(); }
  /// The attributes, inputs and weights that were not read since.
  std::vector<case_part> unread() const;

  mutable std::set<std::string> read_{};  // "kind name"
};

/// \throws case_error  with file and line, for anything that departs from the format.
case_file read_case(const std::filesystem::path& path);

/// The number that a whole token spells, "nan", "inf" and "-inf" included.
bool parse_number(const std::string& token, double& value);

}  // namespace conformance
