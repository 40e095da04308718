#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/core/types.hpp"
#include "softlook/inspect/detail/text.hpp"
#include "softlook/inspect/figures.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup inspect
/// \{

namespace inspect {

/// A part of the weights of a head as pixels: the weights themselves where there is a pixel for
/// each, else the means of blocks, as weight_pixels() makes them.
struct map_region {
  range queries;
  range keys;
  Eigen::MatrixXd pixels;
};

/// What a report shows of a head whose n×m weights are too many to be stored: means of blocks, the
/// strongest keys of each query, and regions to zoom into. Made from the streams of
/// attention/weights.hpp:
///
///     const auto map = weight_pixels(Q, K, 256, 256, mask);       // 100,000 × 100,000 weights
///     inspect::long_map seen(K.rows(), map, strongest_weights(Q, K, 8, mask));
///     seen.zoom(rows, cols, weight_pixels(Q, K, rows.count(), cols.count(), rows, cols, mask));
///     seen.entropies(weight_entropies(Q, K, mask));               // drawn beside the map
///     inspect::write_html("report.html", inspect::report(seen));
///
/// Pixel (r, c) of R×C is of queries ⌊r·n/R⌋ to ⌊(r + 1)·n/R⌋ − 1, keys alike.
class long_map {
 public:
  /// \param keys       m
  /// \param strongest  n×k `.keys` and `.weights`, strongest first, −1 where a query has fewer:
  ///                   a softlook::strongest<T>
  /// \throws shape_error  unless there is a key for each weight.
  /// \throws argument_error  unless there are queries, keys, pixels, at most as many pixels as
  ///                         queries and keys, and each key lies below m.
  template <dense_expression W, class Strongest>
  long_map(index keys, const W& pixels, const Strongest& strongest)
      : rows_(strongest.weights.rows()),
        cols_(keys),
        pixels_(detail::in_double(pixels)),
        weights_(detail::in_double(strongest.weights)) {
    using softlook::detail::check_sizes;
    at_least_one("strongest.weights.rows()", rows_, "a map has at least 1 query");
    at_least_one("keys", cols_, "a map has at least 1 key");
    constexpr const char* rule = "each weight has its key";
    check_sizes(where, "strongest.keys.rows()", strongest.keys.rows(), "strongest.weights.rows()",
                rows_, rule);
    check_sizes(where, "strongest.keys.cols()", strongest.keys.cols(), "strongest.weights.cols()",
                weights_.cols(), rule);
    check_pixels("pixels", {0, rows_}, {0, cols_}, pixels_);
    keys_.reserve(static_cast<std::size_t>(weights_.size()));
    for (index i = 0; i < rows_; ++i)
      for (index c = 0; c < weights_.cols(); ++c) add_key(index(strongest.keys(i, c)));
  }

  /// Adds a region, which the page draws instead of `pixels()` when the reader is in it.
  /// \throws argument_error  unless the region lies in the map and has pixels, at most one for each
  ///                         weight.
  template <dense_expression W>
  void zoom(range queries, range keys, const W& pixels) {
    check_inside("queries", queries, rows_);
    check_inside("keys", keys, cols_);
    map_region region{queries, keys, detail::in_double(pixels)};
    check_pixels("pixels", queries, keys, region.pixels);
    regions_.push_back(std::move(region));
  }

  /// How widely each query looks, in nats, which the page draws beside the map.
  /// \throws shape_error  unless there is one for each query.
  template <dense_expression H>
  void entropies(const H& nats) {
    constexpr const char* rule = "each query has its entropy";
    softlook::detail::check_sizes(where, "entropies.rows()", nats.rows(), "rows()", rows_, rule);
    softlook::detail::check_sizes(where, "entropies.cols()", nats.cols(), "1", 1, rule);
    entropies_ = detail::in_double(nats);
  }

  [[nodiscard]] index rows() const { return rows_; }  ///< queries
  [[nodiscard]] index cols() const { return cols_; }  ///< keys
  [[nodiscard]] const Eigen::MatrixXd& pixels() const { return pixels_; }
  /// Of each query, n×k.
  [[nodiscard]] const Eigen::MatrixXd& strongest_weights() const { return weights_; }
  /// Of query 0 all k, of query 1 all k, and so on; −1 for none.
  [[nodiscard]] const std::vector<std::int32_t>& strongest_keys() const { return keys_; }
  [[nodiscard]] const std::vector<map_region>& regions() const { return regions_; }
  /// n×1, or empty where none were given.
  [[nodiscard]] const Eigen::MatrixXd& entropies() const { return entropies_; }

 private:
  static constexpr const char* where = "inspect::long_map";

  static void at_least_one(const char* what, index count, const char* rule) {
    if (count < 1) softlook::detail::raise_argument(where, what, double(count), rule);
  }
  SOFTLOOK_SMALL void add_key(index key) {
    if (key < -1 || key >= cols_)
      softlook::detail::raise_argument(
          where, "a key of strongest", double(key),
          softlook::detail::drawing::joined(
              {"it lies below the number of keys, ", std::to_string(cols_), ", or is -1: none"}));
    keys_.push_back(static_cast<std::int32_t>(key));
  }
  SOFTLOOK_SMALL static void check_inside(const char* what, range part, index all) {
    const auto outside = [&](const char* end, index is) {
      softlook::detail::raise_argument(
          where, softlook::detail::drawing::joined({what, end}).c_str(), double(is),
          softlook::detail::drawing::joined(
              {"a region is not empty and lies between 0 and ", std::to_string(all)}));
    };
    if (part.begin < 0 || part.begin >= all) outside(".begin", part.begin);
    if (part.end <= part.begin || part.end > all) outside(".end", part.end);
  }
  SOFTLOOK_SMALL static void check_pixels(const char* what, range queries, range keys,
                                          const Eigen::MatrixXd& pixels) {
    const auto check = [&](const char* size, index count, index most, const char* things) {
      if (count < 1 || count > most)
        softlook::detail::raise_argument(
            where, softlook::detail::drawing::joined({what, size}).c_str(), double(count),
            softlook::detail::drawing::joined(
                {"between 1 and the number of ", things, ", ", std::to_string(most)}));
    };
    check(".rows()", pixels.rows(), queries.count(), "queries");
    check(".cols()", pixels.cols(), keys.count(), "keys");
  }

  index rows_;
  index cols_;
  Eigen::MatrixXd pixels_;
  Eigen::MatrixXd weights_;
  std::vector<std::int32_t> keys_;
  std::vector<map_region> regions_;
  Eigen::MatrixXd entropies_;
};

}  // namespace inspect

/// \}

SOFTLOOK_NAMESPACE_END
