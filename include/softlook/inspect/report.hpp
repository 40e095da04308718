#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <charconv>
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
#include "softlook/inspect/detail/drawing.hpp"
#include "softlook/inspect/detail/lines_script.hpp"
#include "softlook/inspect/detail/page.hpp"
#include "softlook/inspect/detail/view_script.hpp"
#include "softlook/inspect/heat_map.hpp"

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

/// A text as it stands between quotes in JSON inside of HTML: nothing in it can end the element,
/// nor a line of script.
[[nodiscard]] SOFTLOOK_SMALL inline std::string json_text(std::string_view text) {
  std::string out = "\"";
  const std::string safe = printable(text);
  for (std::string_view rest = safe; !rest.empty();) {
    const std::string_view before = rest;
    const char32_t c = take_code_point(rest);
    if (c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == '\'' || c == '`' ||
        c == 0x2028 || c == 0x2029) {
      constexpr std::string_view digits = "0123456789abcdef";
      out += "\\u";
      for (int shift = 12; shift >= 0; shift -= 4) out += digits[(c >> shift) & 15U];
    } else {
      out += before.substr(0, before.size() - rest.size());
    }
  }
  return out + '"';
}

[[nodiscard]] SOFTLOOK_SMALL inline std::string json_number(double x) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), x);
  return {text.data(), end.ptr};
}

/// "[a,b,c]" of what `item` says of each number below count.
template <class Item>
[[nodiscard]] std::string json_list(std::size_t count, const Item& item) {
  std::string out = "[";
  for (std::size_t k = 0; k < count; ++k) {
    if (k > 0) out += ',';
    out += item(k);
  }
  return out + ']';
}
[[nodiscard]] SOFTLOOK_SMALL inline std::string json_list(const labels& names) {
  return json_list(names.size(), [&](std::size_t k) { return json_text(names[k]); });
}

/// RFC 4648, section 4.
[[nodiscard]] SOFTLOOK_SMALL inline std::string base64(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t k = 0; k < bytes.size(); k += 3) {
    const std::size_t here = std::min<std::size_t>(3, bytes.size() - k);
    std::uint32_t group = 0;
    for (std::size_t b = 0; b < 3; ++b) group = group << 8 | (b < here ? bytes[k + b] : 0U);
    for (std::size_t b = 0; b < 4; ++b)
      out += b <= here ? letters[(group >> (18 - 6 * b)) & 63U] : '=';
  }
  return out;
}

/// How a weight becomes a small number: evenly spaced levels from the lowest to the highest, and
/// above them four codes for what is no level: an exact zero (a masked pair), NaN, +∞, −∞.
struct quantiser {
  scale range;
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

}  // namespace detail

/// Weights of layers and heads as one HTML file that a browser shows without a network: a small map
/// of each head, a large one of the chosen head that tells the weight under the mouse, and lines
/// from a chosen query to its keys. Colours are those of to_svg; light and dark; works by keyboard.
///
///     using inspect::report;
///     const std::vector<std::vector<Eigen::MatrixXf>> layers = ...;   // [layer][head], n×m each
///     inspect::write_html("report.html", report(layers, tokens, tokens, {.title = "a sentence"}));
///
/// A weight takes 16 bits (style.bits = 8: one byte), as base64, so a head of n×m takes 8nm/3 bytes
/// of the file; a shown weight is within precision() of the given one. Exact zeros, NaN and ±∞
/// stay what they are. Names and titles go through printable().
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
    check_grid(layers);
    const std::size_t heads = layers[0].size();
    queries_ =
        named("queries.size()", "layers[0][0].rows()", layers[0][0].rows(), "", std::move(queries));
    keys_ = named("keys.size()", "layers[0][0].cols()", layers[0][0].cols(), "", std::move(keys));
    style_.layers = named("style.layers.size()", "layers.size()", index(layers.size()), "layer ",
                          std::move(style_.layers));
    style_.heads = named("style.heads.size()", "layers[0].size()", index(heads), "head ",
                         std::move(style_.heads));
    check_style();
    for (const auto& layer : layers)
      for (const W& head : layer) maps_.push_back(detail::in_double(head));
    find_range();
  }

  /// One map, with its names and title: a grid of one layer and one head.
  template <std::same_as<heat_map> Map>
  explicit report(const Map& map, int bits = 16)
      : report(std::vector<std::vector<std::decay_t<decltype(map.weights())>>>{{map.weights()}},
               map.queries(), map.keys(), one_map(map.title(), bits)) {}

  [[nodiscard]] const labels& queries() const { return queries_; }
  [[nodiscard]] const labels& keys() const { return keys_; }
  [[nodiscard]] const report_style& style() const { return style_; }
  /// Of layer 0 all heads, of layer 1 all heads, and so on.
  [[nodiscard]] const std::vector<Eigen::MatrixXd>& maps() const { return maps_; }
  /// The largest difference of a shown weight from the given one.
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

  static report_style one_map(std::string title, int bits) {
    report_style how;
    how.title = std::move(title);
    how.layers = {"weights"};
    how.heads = {""};
    how.bits = bits;
    return how;
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

  /// 0 and the finite weights, as the colours of to_svg.
  void find_range() {
    code_.bits = style_.bits;
    detail::scale& range = code_.range;
    for (const Eigen::MatrixXd& map : maps_)
      for (const double x : detail::numbers_of(map))
        if (std::isfinite(x)) range = {std::min(range.lowest, x), std::max(range.highest, x)};
    if (range.highest == range.lowest) range.highest = 1;
  }

  report_style style_;
  labels queries_;
  labels keys_;
  std::vector<Eigen::MatrixXd> maps_;
  detail::quantiser code_;
};

namespace detail {

/// Rows one after another, the lower byte of a weight first.
template <class Map>
[[nodiscard]] SOFTLOOK_SMALL std::string encoded(const Map& map, const quantiser& code) {
  std::vector<std::uint8_t> bytes;
  bytes.reserve(static_cast<std::size_t>(map.size() * code.bits / 8));
  for (index i = 0; i < map.rows(); ++i)
    for (index j = 0; j < map.cols(); ++j) {
      const std::uint32_t c = code(map(i, j));
      for (int shift = 0; shift < code.bits; shift += 8)
        bytes.push_back(static_cast<std::uint8_t>(c >> shift));
    }
  return joined({"\"", base64(bytes), "\""});
}

/// What the script of the page reads.
template <std::same_as<report> Report>
[[nodiscard]] SOFTLOOK_SMALL std::string data_of(const Report& r) {
  const auto colour_list = [](std::size_t k) {
    const colour c = viridis(double(k) / 9);
    return json_list(3, [&](std::size_t p) {
      return std::to_string(p == 0 ? c.red : p == 1 ? c.green : c.blue);
    });
  };
  std::string out = "{";
  const auto add = [&out](const char* name, const std::string& value) {
    if (out.size() > 1) out += ",\n";
    ((((out += '"') += name) += "\":") += value);
  };
  add("title", json_text(r.style().title));
  add("queries", json_list(r.queries()));
  add("keys", json_list(r.keys()));
  add("layers", json_list(r.style().layers));
  add("heads", json_list(r.style().heads));
  add("layer", std::to_string(r.style().layer));
  add("head", std::to_string(r.style().head));
  add("bits", std::to_string(r.style().bits));
  add("lowest", json_number(r.code().range.lowest));
  add("highest", json_number(r.code().range.highest));
  add("precision", json_number(r.precision()));
  add("ramp", json_list(10, colour_list));
  add("weights", json_list(r.maps().size(), [&](std::size_t k) {
        const char* const begin = k % r.style().heads.size() == 0 ? "\n" : "";
        return joined({begin, encoded(r.maps()[k], r.code())});
      }));
  return out + "}";
}

}  // namespace detail

/// The report as the text of one HTML file.
template <std::same_as<report> Report = report>  // so that the page waits for a call
[[nodiscard]] SOFTLOOK_SMALL std::string to_html(const Report& r) {
  using namespace softlook::detail;
  const std::string& given = r.style().title;
  const std::string title = given.empty() ? "Attention weights" : drawing::printable(given);
  return drawing::joined(
      {"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n", "<title>",
       drawing::escaped_for_xml(title), "</title>\n", report_page::head, report_page::body,
       "<script type=\"application/json\" id=\"data\">", detail::data_of(r),
       "</script>\n<script>\n", report_page::data_script, report_page::view_script,
       report_page::lines_script, "</script>\n</body>\n</html>\n"});
}

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

#if SOFTLOOK_USES_COMPILED
SOFTLOOK_NAMESPACE_BEGIN
namespace inspect {
SOFTLOOK_INSTANTIATE_PAGES(extern)
}  // namespace inspect
SOFTLOOK_NAMESPACE_END
#endif
