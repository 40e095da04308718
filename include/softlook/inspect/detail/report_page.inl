#pragma once

#include <Eigen/Core>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "softlook/inspect/detail/data_script.hpp"
#include "softlook/inspect/detail/drawing.hpp"
#include "softlook/inspect/detail/json.hpp"
#include "softlook/inspect/detail/lines_script.hpp"
#include "softlook/inspect/detail/page.hpp"
#include "softlook/inspect/detail/play_script.hpp"
#include "softlook/inspect/detail/view_script.hpp"

// What a report is as a page, which softlook::compiled holds.

SOFTLOOK_NAMESPACE_BEGIN
namespace inspect {

namespace detail {

/// Rows one after another.
template <class Map>
[[nodiscard]] SOFTLOOK_SMALL std::string encoded(const Map& map, const quantiser& code) {
  packed_numbers numbers(code.bits / 8, static_cast<std::size_t>(map.size()));
  for (index i = 0; i < map.rows(); ++i)
    for (index j = 0; j < map.cols(); ++j) numbers.add(code(map(i, j)));
  return numbers.text();
}

/// Weights with the levels and the precision that they are stored with.
template <class Map>
SOFTLOOK_SMALL void add_weights(json_object& to, const Map& map, int bits) {
  const quantiser code = quantiser_of(std::span<const Map>(&map, 1), bits);
  to.add("lowest", json_number(code.range.lowest));
  to.add("highest", json_number(code.range.highest));
  to.add("precision", json_number(code.precision()));
  to.add("weights", encoded(map, code));
}

/// Bytes of a number of a key; one number more says that there is none.
[[nodiscard]] inline int bytes_of_key(index keys) {
  return keys < 0xFFFF ? 2 : keys < 0xFFFFFF ? 3 : 4;
}

/// What the page knows of a head of a long sequence besides its pixels.
template <std::same_as<long_map> Map>
[[nodiscard]] SOFTLOOK_SMALL std::string details_of(const Map& map, int bits) {
  json_object out;
  out.add("count", std::to_string(map.strongest_weights().cols()));
  packed_numbers keys(bytes_of_key(map.cols()), map.strongest_keys().size());
  for (const std::int32_t key : map.strongest_keys()) keys.add(static_cast<std::uint32_t>(key));
  out.add("keys", keys.text());
  out.add("bits", std::to_string(bits + 8));
  add_weights(out, map.strongest_weights(), bits + 8);
  if (map.entropies().size() > 0) {
    json_object entropies;
    add_weights(entropies, map.entropies(), bits);
    out.add("entropies", entropies.text());
  }
  out.add("regions", json_list(map.regions().size(), [&](std::size_t k) {
            const map_region& region = map.regions()[k];
            json_object part;
            part.add("queries", json_pair(region.queries.begin, region.queries.end));
            part.add("keys", json_pair(region.keys.begin, region.keys.end));
            part.add("rows", std::to_string(region.pixels.rows()));
            part.add("cols", std::to_string(region.pixels.cols()));
            add_weights(part, region.pixels, bits);
            return part.text();
          }));
  return out.text();
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
  json_object out;
  out.add("title", json_text(r.style().title));
  out.add("queries", json_names(r.queries()));
  out.add("keys", r.keys() == r.queries() ? "null" : json_names(r.keys()));
  out.add("layers", json_list(r.style().layers));
  out.add("heads", json_list(r.style().heads));
  out.add("layer", std::to_string(r.style().layer));
  out.add("head", std::to_string(r.style().head));
  out.add("bits", std::to_string(r.style().bits));
  out.add("lowest", json_number(r.code().range.lowest));
  out.add("highest", json_number(r.code().range.highest));
  out.add("precision", json_number(r.precision()));
  out.add("ramp", json_list(10, colour_list));
  if (!r.long_maps().empty()) {
    out.add("pixels", json_pair(r.maps()[0].rows(), r.maps()[0].cols()));
    out.add("key_bytes", std::to_string(bytes_of_key(r.long_maps()[0].cols())));
    out.add("details", json_list(r.long_maps().size(), [&](std::size_t k) {
              return details_of(r.long_maps()[k], r.style().bits);
            }));
  }
  out.add("weights", json_list(r.maps().size(), [&](std::size_t k) {
            const char* const begin = k % r.style().heads.size() == 0 ? "\n" : "";
            return joined({begin, encoded(r.maps()[k], r.code())});
          }));
  return out.text();
}

}  // namespace detail

template <std::same_as<report> Report>
SOFTLOOK_SMALL std::string to_html(const Report& r) {
  using namespace softlook::detail;
  const std::string& given = r.style().title;
  const std::string title = given.empty() ? "Attention weights" : drawing::printable(given);
  return drawing::joined(
      {"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n", "<title>",
       drawing::escaped_for_xml(title), "</title>\n", report_page::head, report_page::body,
       "<script type=\"application/json\" id=\"data\">", detail::data_of(r),
       "</script>\n<script>\n", report_page::data_script, report_page::view_script,
       report_page::lines_script, report_page::play_script, "</script>\n</body>\n</html>\n"});
}

}  // namespace inspect
SOFTLOOK_NAMESPACE_END
