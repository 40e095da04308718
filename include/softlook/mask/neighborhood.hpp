#pragma once

#include <algorithm>
#include <cstdint>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/mask/detail/band.hpp"
#include "softlook/mask/detail/divider.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace masks {

/// \addtogroup sparse_masks
/// \{

/// What becomes of a window that leaves the grid: it is cut off there, or moved inside, so that
/// every query sees as many keys.
enum class border { cut, shifted };

namespace detail {

/// The windows along one direction of a grid. Their ends never decrease from one token to the next,
/// and windows of neighbours touch: those of a run of tokens are one interval.
struct grid_axis {
  std::int32_t size = 1;
  std::int32_t radius = 0;
  std::int32_t width = 1;   // of a window
  std::int32_t latest = 0;  // where one may begin; `size` where borders cut

  [[nodiscard]] static constexpr grid_axis of(index size, index radius, border at) {
    using softlook::detail::band;
    const auto all = band::clamp(size);
    const auto reach = static_cast<std::int32_t>(std::clamp<index>(radius, 0, all));
    const auto width = static_cast<std::int32_t>(std::min<index>(2 * index{reach} + 1, all));
    return {all, reach, width, at == border::shifted ? all - width : all};
  }
  [[nodiscard]] constexpr std::int32_t begin_of(std::int32_t x) const {
    const std::int32_t begin = x - radius < latest ? x - radius : latest;
    return begin < 0 ? 0 : begin;
  }
  /// Behind the last one. A window that is cut off on the left is narrower than the others.
  [[nodiscard]] constexpr std::int32_t end_of(std::int32_t x) const {
    const std::int32_t end = latest == size ? x + radius + 1 : begin_of(x) + width;
    return end < size ? end : size;
  }
  [[nodiscard]] constexpr bool sees(std::int32_t x, std::int32_t other) const {
    return (int{other >= begin_of(x)} & int{other < end_of(x)}) != 0;
  }
};

/// Rows × columns of a grid, none of them empty.
struct grid_box {
  std::int32_t y, y_last, x, x_last;
};

/// Tokens one behind the other: a row in part, whole rows, a row in part.
struct grid_boxes {
  grid_box box[3];
  int count = 0;

  constexpr grid_boxes(range tokens, std::int32_t width) {
    const auto y = static_cast<std::int32_t>(tokens.begin / width);
    const auto y_last = static_cast<std::int32_t>((tokens.end - 1) / width);
    const auto x = static_cast<std::int32_t>(tokens.begin - index{y} * width);
    const auto x_last = static_cast<std::int32_t>(tokens.end - 1 - index{y_last} * width);
    if (y == y_last) {
      add({y, y, x, x_last});
      return;
    }
    add({y, y, x, width - 1});
    if (y + 1 < y_last) add({y + 1, y_last - 1, 0, width - 1});
    add({y_last, y_last, 0, x_last});
  }
  constexpr void add(const grid_box& b) { box[count++] = b; }
};

}  // namespace detail

/// Tokens of a grid of height × width, row after row, t = y·width + x; a query sees the keys of the
/// window around it, itself included:
///   |y_i − y_j| ≤ radius_y  and  |x_i − x_j| ≤ radius_x
/// With border::shifted a window that would leave the grid is moved inside: in each direction it
/// begins at clamp(x − radius, 0, size − (2·radius + 1)) and holds 2·radius + 1 tokens.
///
/// \see Ramachandran et al., "Stand-Alone Self-Attention in Vision Models", 2019, section 3 (cut);
///      Hassani et al., "Neighborhood Attention Transformer", 2023, section 3.1 (shifted).
/// A radius beyond the grid is all of that direction. Coverage is exact: O(1) for any tile.
struct neighborhood_2d {
  using policy_kind = mask_kind;
  index height = 1;
  index width = 1;
  index radius_y = 0;
  index radius_x = 0;
  masks::border border = masks::border::cut;

  [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem) const {
    const auto w = static_cast<std::int32_t>(width);
    return rows().sees(i / w, j / w) && columns().sees(i % w, j % w);
  }
  [[nodiscard]] constexpr range key_range(range q, problem p) const {
    if (q.empty()) return {};
    const detail::grid_axis y = rows(), x = columns();
    range all{};
    const detail::grid_boxes boxes(q, x.size);
    for (int b = 0; b < boxes.count; ++b) {
      const detail::grid_box& box = boxes.box[b];
      all = hull(all, {index{y.begin_of(box.y)} * width + x.begin_of(box.x),
                       index{y.end_of(box.y_last) - 1} * width + x.end_of(box.x_last)});
    }
    return intersection(all, {0, p.keys});
  }
  [[nodiscard]] constexpr coverage coverage_of(range q, range k, problem) const {
    const detail::grid_axis y = rows(), x = columns();
    const detail::grid_boxes queries(q, x.size), keys(k, x.size);
    bool any = false, all = true;
    for (int a = 0; a < queries.count; ++a)
      for (int b = 0; b < keys.count; ++b) {
        const detail::grid_box &i = queries.box[a], &j = keys.box[b];
        any =
            any || (some(y, i.y, i.y_last, j.y, j.y_last) && some(x, i.x, i.x_last, j.x, j.x_last));
        all =
            all && every(y, i.y, i.y_last, j.y, j.y_last) && every(x, i.x, i.x_last, j.x, j.x_last);
      }
    return all ? coverage::full : any ? coverage::partial : coverage::none;
  }
  /// \throws argument_error for an empty grid or a negative radius; shape_error unless queries and
  /// keys are the tokens of the grid.
  void check(const char* where, problem p) const {
    using namespace softlook::detail;
    check_side(where, "masks::neighborhood_2d.height", height);
    check_side(where, "masks::neighborhood_2d.width", width);
    check_radius(where, "masks::neighborhood_2d.radius_y", radius_y);
    check_radius(where, "masks::neighborhood_2d.radius_x", radius_x);
    const char* const name = "masks::neighborhood_2d height · width";
    const char* const rule = "queries and keys are the tokens of the grid";
    check_sizes(where, "Q.rows()", p.queries, name, height * width, rule);
    check_sizes(where, "K.rows()", p.keys, name, height * width, rule);
  }

  struct lookup_type {
    using policy_kind = mask_kind;
    softlook::detail::divider row;
    detail::grid_axis y;
    detail::grid_axis x;
    [[nodiscard]] constexpr bool allows(std::int32_t i, std::int32_t j, problem) const {
      const std::int32_t y_i = row(i), y_j = row(j);
      return (int{y.sees(y_i, y_j)} & int{x.sees(i - y_i * x.size, j - y_j * x.size)}) != 0;
    }
    [[nodiscard]] constexpr range key_range(range, problem p) const { return {0, p.keys}; }
    [[nodiscard]] constexpr coverage coverage_of(range, range, problem) const {
      return coverage::partial;
    }
  };
  [[nodiscard]] constexpr lookup_type lookup_form() const {
    return {softlook::detail::divider(columns().size), rows(), columns()};
  }

 private:
  [[nodiscard]] constexpr detail::grid_axis rows() const {
    return detail::grid_axis::of(height, radius_y, border);
  }
  [[nodiscard]] constexpr detail::grid_axis columns() const {
    return detail::grid_axis::of(width, radius_x, border);
  }
  /// Of tokens a … b: whether the windows of some, or of each, hold some, or all, of c … d.
  [[nodiscard]] static constexpr bool some(const detail::grid_axis& axis, std::int32_t a,
                                           std::int32_t b, std::int32_t c, std::int32_t d) {
    return axis.begin_of(a) <= d && axis.end_of(b) > c;
  }
  [[nodiscard]] static constexpr bool every(const detail::grid_axis& axis, std::int32_t a,
                                            std::int32_t b, std::int32_t c, std::int32_t d) {
    return axis.begin_of(b) <= c && axis.end_of(a) > d;
  }
  static void check_side(const char* where, const char* name, index size) {
    constexpr index most = index{1} << 30;  // so that no end of a window overflows
    if (size < 1 || size > most)
      softlook::detail::raise_argument(where, name, double(size),
                                       "each side of a grid has 1 to 2^30 tokens");
  }
  static void check_radius(const char* where, const char* name, index radius) {
    if (radius < 0)
      softlook::detail::raise_argument(where, name, double(radius),
                                       "a window reaches 0 or more tokens");
  }
};

/// \}

}  // namespace masks
SOFTLOOK_NAMESPACE_END
