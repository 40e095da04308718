#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstdlib>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "softlook/engine/kernels/instantiate.hpp"
#include "softlook/inspect/detail/text.hpp"
#include "softlook/inspect/figures.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup inspect Looking at weights
/// Heat maps for the terminal and as SVG, a page to explore in a browser, entropy, the strongest
/// keys. Of any matrix with a row for each query and a column for each key, scores as well.
/// \cases tests/unit/inspect/heat_map_test.cpp
/// \program examples/alignment.cpp
/// \{

namespace inspect {
using labels = std::vector<std::string>;

/// How a terminal shows a shade. `ascii` and `blocks` (Unicode ░▒▓█) use no colour.
enum class paint { ascii, blocks, ansi256, rgb };

/// All maps of a picture share one colour scale. An end that is not set is that of the finite
/// numbers and 0.
struct style {
  inspect::paint paint = inspect::paint::blocks;
  int decimals = 2;                 ///< of the numbers in the cells; negative: no numbers
  std::optional<double> lowest{};   ///< what the darkest colour means
  std::optional<double> highest{};  ///< what the brightest colour means
  index per_row = 4;                ///< maps beside each other before a new line begins
};

/// What the user's terminal says it can show: NO_COLOR, COLORTERM and TERM of the environment.
[[nodiscard]] inline paint terminal_paint() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string_view(value ? value : "");
  };
  if (!variable("NO_COLOR").empty()) return paint::blocks;
  const std::string_view depth = variable("COLORTERM"), terminal = variable("TERM");
  if (depth == "truecolor" || depth == "24bit") return paint::rgb;
  return terminal.empty() || terminal == "dumb" ? paint::blocks : paint::ansi256;
}

/// Any text as one may show it: ␊ for control characters, U+FFFD for those of bidirectional text.
using softlook::detail::drawing::printable;

namespace detail {

// Templates, so that softlook::compiled can hold them.
template <std::same_as<std::string> Text>
SOFTLOOK_SMALL void make_printable(Text& text) {
  text = softlook::detail::drawing::printable(text);
}
template <std::same_as<labels> Labels>
SOFTLOOK_SMALL void check_names(const char* what, const char* of_what, index count, Labels& names) {
  if (names.empty())
    for (index k = 0; k < count; ++k) names.push_back(std::to_string(k));
  softlook::detail::check_sizes("inspect::heat_map", what, static_cast<long long>(names.size()),
                                of_what, count, "every one has a name, or none has");
  for (auto& name : names) make_printable(name);
}
}  // namespace detail

/// Weights (or scores) with the names of their rows and columns. Holds a copy of everything.
class heat_map {
 public:
  /// Without names, queries and keys are numbered from 0.
  /// \throws shape_error  unless there is a name for each row and for each column.
  template <dense_expression W>
  explicit heat_map(const W& weights, labels queries = {}, labels keys = {},
                    std::string_view title = {})
      : heat_map(std::move(queries), std::move(keys), title, detail::in_double(weights)) {}

  [[nodiscard]] const Eigen::MatrixXd& weights() const { return weights_; }
  [[nodiscard]] const labels& queries() const { return queries_; }
  [[nodiscard]] const labels& keys() const { return keys_; }
  [[nodiscard]] const std::string& title() const { return title_; }

 private:
  SOFTLOOK_SMALL heat_map(labels&& queries, labels&& keys, std::string_view title,
                          Eigen::MatrixXd&& weights)
      : queries_(std::move(queries)), keys_(std::move(keys)), title_(title) {
    weights_.swap(weights);
    detail::check_names("queries.size()", "weights.rows()", weights_.rows(), queries_);
    detail::check_names("keys.size()", "weights.cols()", weights_.cols(), keys_);
    detail::make_printable(title_);
  }

  Eigen::MatrixXd weights_;
  labels queries_;
  labels keys_;
  std::string title_;
};

/// A line for each query:  "love -> aime 0.90, je 0.06", or "love -> nothing" for an empty row.
/// \throws argument_error  if count is negative.
template <
    std::same_as<heat_map> Map = heat_map>  // a template, so that softlook::compiled can hold it
[[nodiscard]] std::string strongest_keys_text(const Map& map, index count);

namespace detail {

using namespace softlook::detail::drawing;

template <std::same_as<heat_map> Map>
[[nodiscard]] std::string text_of_maps(std::span<const Map> maps, const style& how);
template <std::same_as<heat_map> Map>
[[nodiscard]] std::string svg_of_maps(std::span<const Map> maps, const style& how);

}  // namespace detail

/// Heat maps as text, `per_row` beside each other, with a scale below when cells hold no numbers.
/// \throws argument_error  if the style is wrong: an empty colour scale, no map in a row.
[[nodiscard]] inline std::string to_text(std::span<const heat_map> maps, const style& how = {}) {
  return detail::text_of_maps(maps, how);
}
[[nodiscard]] inline std::string to_text(const heat_map& map, const style& how = {}) {
  return to_text(std::span(&map, 1), how);
}

/// Heat maps as one self-contained SVG: names on both axes, numbers where the cells have room for
/// them, a colour scale. Names and titles are escaped.
/// \throws argument_error  as to_text.
[[nodiscard]] inline std::string to_svg(std::span<const heat_map> maps, const style& how = {}) {
  return detail::svg_of_maps(maps, how);
}
[[nodiscard]] inline std::string to_svg(const heat_map& map, const style& how = {}) {
  return to_svg(std::span(&map, 1), how);
}

/// \throws std::runtime_error  if the file cannot be written.
inline void write_svg(const std::string& path, std::span<const heat_map> maps,
                      const style& how = {}) {
  if (!detail::write_file(path, to_svg(maps, how)))
    softlook::detail::raise<std::runtime_error>(
        detail::joined({"inspect::write_svg: cannot write ", path}));
}
inline void write_svg(const std::string& path, const heat_map& map, const style& how = {}) {
  write_svg(path, std::span(&map, 1), how);
}

}  // namespace inspect

/// \}

SOFTLOOK_NAMESPACE_END

#if SOFTLOOK_USES_COMPILED
SOFTLOOK_NAMESPACE_BEGIN
namespace inspect::detail {
SOFTLOOK_INSTANTIATE_NAMES(extern)
}  // namespace inspect::detail
SOFTLOOK_NAMESPACE_END
#else
#include "softlook/inspect/detail/pictures.inl"
#endif
