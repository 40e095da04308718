#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/inspect/detail/scale.hpp"
#include "softlook/inspect/detail/text.hpp"
#include "softlook/inspect/heat_map.hpp"
#include "softlook/inspect/long_map.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup inspect
/// \{

namespace inspect {

/// What a report is called, how exact it is, and what it shows first.
struct report_style {
  std::string title{};
  labels layers{};  ///< names; none: "layer 0" and so on
  labels heads{};   ///< names; none: "head 0" and so on
  int bits = 16;    ///< of one stored weight: 16, or 8 for half the file
  index layer = 0;  ///< shown first, with `head`
  index head = 0;
};

namespace detail {

/// How a weight becomes a small number: evenly spaced levels from the lowest to the highest, and
/// above them four codes for what is no level: an exact zero (a masked pair), NaN, +∞, −∞.
struct quantiser {
  scale range{};  // of 0 and the finite weights, as the colours of to_svg
  int bits = 16;
  [[nodiscard]] std::uint32_t levels() const { return (1U << bits) - 4; }
  [[nodiscard]] std::uint32_t operator()(double x) const {
    if (x == 0) return levels();
    if (std::isnan(x)) return levels() + 1;
    if (std::isinf(x)) return levels() + (x > 0 ? 2 : 3);
    return static_cast<std::uint32_t>(std::lround(range(x) * double(levels() - 1)));
  }
  /// Half a level, and what rounding adds in `range` and in the page.
  [[nodiscard]] double precision() const {
    const double all = range.highest / 2 - range.lowest / 2;
    const double rounding = 4 * std::numeric_limits<double>::epsilon();
    return all / double(levels() - 1) +
           rounding * std::max(std::abs(range.lowest), std::abs(range.highest));
  }
};

template <std::same_as<Eigen::MatrixXd> Map>
[[nodiscard]] SOFTLOOK_SMALL quantiser quantiser_of(std::span<const Map> maps, int bits) {
  quantiser code{.bits = bits};
  scale& range = code.range;
  for (const Map& map : maps)
    for (const double x : numbers_of(map))
      if (std::isfinite(x)) range = {std::min(range.lowest, x), std::max(range.highest, x)};
  if (range.highest == range.lowest) range.highest = 1;
  return code;
}

}  // namespace detail

/// Weights of layers and heads as one HTML file that a browser shows without a network: a small map
/// of each head, a large one of the chosen head that tells the weight under the mouse and can be
/// zoomed, beside it how much each key is looked at and how widely each query looks, lines from a
/// chosen query to its keys, and the keys as a text that is shaded by them; it finds a token and
/// plays from query to query. Colours are those of to_svg; light, dark and on paper; works by
/// keyboard and with a screen reader.
///
///     using inspect::report;
///     const std::vector<std::vector<Eigen::MatrixXf>> layers = ...;   // [layer][head], n×m each
///     inspect::write_html("report.html", report(layers, tokens, tokens, {.title = "a sentence"}));
///
/// A weight takes 16 bits (style.bits = 8: one byte), as base64, so a head of n×m takes 8nm/3 bytes
/// of the file; a shown weight is within precision() of the given one. Exact zeros, NaN and ±∞
/// stay what they are. Names and titles go through printable().
///
/// Of long sequences (more than some 4000 tokens) it takes a long_map of each head. Each matrix of
/// pixels has levels and a precision of its own, which the page states; a query's strongest weights
/// have 8 bits more: most are small beside that of a query which sees one key. One of them takes 5
/// to 7 bytes with its key, 7 to 10 of the file.
class report {
 public:
  /// Without names, queries, keys, layers and heads are numbered from 0.
  /// \throws argument_error  if there is no layer, no head, query or key, style.bits is neither 8
  ///                         nor 16, or style.layer or style.head is not there.
  /// \throws shape_error  unless layers have the same number of heads, maps the same shape, and
  ///                      there is a name for each query, key, layer and head.
  template <dense_expression W>
  explicit report(const std::vector<std::vector<W>>& layers, labels queries = {}, labels keys = {},
                  report_style how = {})
      : style_(std::move(how)) {
    take_names(layers, std::move(queries), std::move(keys));
    for (const auto& layer : layers)
      for (const W& head : layer) maps_.push_back(detail::in_double(head));
    find_range();
  }

  /// Of long sequences.
  /// \throws  as above; shape_error unless all heads have the same number of pixels.
  template <std::same_as<long_map> Map>
  explicit report(const std::vector<std::vector<Map>>& layers, labels queries = {},
                  labels keys = {}, report_style how = {})
      : style_(std::move(how)) {
    take_names(layers, std::move(queries), std::move(keys));
    for (const auto& layer : layers)
      for (const Map& head : layer) {
        constexpr const char* rule = "all heads have the same number of pixels";
        const Eigen::MatrixXd &is = head.pixels(), &first = layers[0][0].pixels();
        softlook::detail::check_sizes(where, "pixels().rows() of a head", is.rows(),
                                      "layers[0][0].pixels().rows()", first.rows(), rule);
        softlook::detail::check_sizes(where, "pixels().cols() of a head", is.cols(),
                                      "layers[0][0].pixels().cols()", first.cols(), rule);
        maps_.push_back(is);
        long_maps_.push_back(head);
      }
    find_range();
  }
  /// One head of a long sequence.
  template <std::same_as<long_map> Map>
  explicit report(const Map& map, labels queries = {}, labels keys = {}, report_style how = {})
      : report(std::vector<std::vector<Map>>{{map}}, std::move(queries), std::move(keys),
               one_head(std::move(how))) {}

  /// One map, with its names and title: a grid of one layer and one head.
  template <std::same_as<heat_map> Map>
  explicit report(const Map& map, int bits = 16)
      : report(std::vector<std::vector<std::decay_t<decltype(map.weights())>>>{{map.weights()}},
               map.queries(), map.keys(), one_head({.title = map.title(), .bits = bits})) {}

  [[nodiscard]] const labels& queries() const { return queries_; }
  [[nodiscard]] const labels& keys() const { return keys_; }
  [[nodiscard]] const report_style& style() const { return style_; }
  /// Of layer 0 all heads, of layer 1 all heads, and so on; of long sequences their pixels.
  [[nodiscard]] const std::vector<Eigen::MatrixXd>& maps() const { return maps_; }
  /// Of long sequences, in the same order; else none.
  [[nodiscard]] const std::vector<long_map>& long_maps() const { return long_maps_; }
  /// The largest difference of a number shown of maps() from the given one.
  [[nodiscard]] double precision() const { return code_.precision(); }
  [[nodiscard]] const detail::quantiser& code() const { return code_; }

 private:
  static constexpr const char* where = "inspect::report";

  static void at_least_one(const std::string& what, index count, const char* rule) {
    if (count < 1) softlook::detail::raise_argument(where, what.c_str(), double(count), rule);
  }

  template <class W>
  static void check_grid(const std::vector<std::vector<W>>& layers) {
    const auto of = [](std::size_t layer, std::string_view rest) {
      return detail::joined({"layers[", std::to_string(layer), "]", rest});
    };
    at_least_one("layers.size()", index(layers.size()), "a report shows at least 1 layer");
    at_least_one("layers[0].size()", index(layers[0].size()), "a layer has at least 1 head");
    const W& first = layers[0][0];
    at_least_one("layers[0][0].rows()", first.rows(), "a map has at least 1 query");
    at_least_one("layers[0][0].cols()", first.cols(), "a map has at least 1 key");
    for (std::size_t k = 0; k < layers.size(); ++k) {
      softlook::detail::check_sizes(where, of(k, ".size()").c_str(), index(layers[k].size()),
                                    "layers[0].size()", index(layers[0].size()),
                                    "all layers have the same number of heads");
      for (std::size_t h = 0; h < layers[k].size(); ++h) {
        const std::string map = detail::joined({of(k, "["), std::to_string(h), "]"});
        constexpr const char* rule = "all maps have the same queries and keys";
        softlook::detail::check_sizes(where, (map + ".rows()").c_str(), layers[k][h].rows(),
                                      "layers[0][0].rows()", first.rows(), rule);
        softlook::detail::check_sizes(where, (map + ".cols()").c_str(), layers[k][h].cols(),
                                      "layers[0][0].cols()", first.cols(), rule);
      }
    }
  }

  static labels named(const char* what, const char* of_what, index count, const char* before,
                      labels names) {
    if (names.empty())
      for (index k = 0; k < count; ++k)
        names.push_back(detail::joined({before, std::to_string(k)}));
    softlook::detail::check_sizes(where, what, index(names.size()), of_what, count,
                                  "every one has a name, or none has");
    return names;
  }

  static report_style one_head(report_style how) {
    if (how.layers.empty()) how.layers = {"weights"};
    if (how.heads.empty()) how.heads = {""};
    return how;
  }

  template <class W>
  void take_names(const std::vector<std::vector<W>>& layers, labels queries, labels keys) {
    check_grid(layers);
    const W& first = layers[0][0];
    queries_ = named("queries.size()", "layers[0][0].rows()", first.rows(), "", std::move(queries));
    keys_ = named("keys.size()", "layers[0][0].cols()", first.cols(), "", std::move(keys));
    style_.layers = named("style.layers.size()", "layers.size()", index(layers.size()), "layer ",
                          std::move(style_.layers));
    style_.heads = named("style.heads.size()", "layers[0].size()", index(layers[0].size()), "head ",
                         std::move(style_.heads));
    check_style();
  }

  void check_style() const {
    if (style_.bits != 8 && style_.bits != 16)
      softlook::detail::raise_argument(where, "style.bits", style_.bits,
                                       "a weight takes 8 or 16 bits");
    const auto below = [](const char* what, index is, std::size_t count) {
      if (is < 0 || is >= index(count))
        softlook::detail::raise_argument(
            where, what, double(is),
            detail::joined({"the report has ", std::to_string(count), ", counted from 0"}));
    };
    below("style.layer", style_.layer, style_.layers.size());
    below("style.head", style_.head, style_.heads.size());
  }

  void find_range() {
    code_ = detail::quantiser_of(std::span<const Eigen::MatrixXd>(maps_), style_.bits);
  }

  report_style style_;
  labels queries_;
  labels keys_;
  std::vector<Eigen::MatrixXd> maps_;
  std::vector<long_map> long_maps_;
  detail::quantiser code_;
};

/// The report as the text of one HTML file.
template <std::same_as<report> Report = report>  // so that the page waits for a call
[[nodiscard]] std::string to_html(const Report& r);

/// \throws std::runtime_error  if the file cannot be written.
template <std::same_as<report> Report = report>
void write_html(const std::string& path, const Report& r) {
  if (!detail::write_file(path, to_html(r)))
    softlook::detail::raise<std::runtime_error>(
        detail::joined({"inspect::write_html: cannot write ", path}));
}

}  // namespace inspect

/// \}

SOFTLOOK_NAMESPACE_END

#if !SOFTLOOK_USES_COMPILED
#include "softlook/inspect/detail/report_page.inl"
#endif
