#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <span>
#include <string>

#include "softlook/detail/call.hpp"

// Positions of rows, and the loop that turns pairs of features.

SOFTLOOK_NAMESPACE_BEGIN

/// Positions of the rows of a matrix: first, first + 1, …, or one for each row (a view).
class token_positions {
 public:
  token_positions(index first = 0) : first_(first) {}
  template <class Each>
    requires std::convertible_to<const Each&, std::span<const index>>
  token_positions(const Each& each) : each_(each), given_(true) {}

  [[nodiscard]] index operator[](index row) const {
    return given_ ? each_[static_cast<std::size_t>(row)] : first_ + row;
  }

  /// \throws shape_error  unless a position is given for each row.
  void check_rows(const char* where, index rows) const {
    if (given_)
      detail::check_sizes(where, "positions.size()", static_cast<long long>(each_.size()),
                          "X.rows()", rows, "every row has a position");
  }
  /// \throws argument_error  unless the positions of all rows lie in a table of `size` rows.
  void check_within(const char* where, index rows, index size) const {
    const auto check = [&](index position) {
      if (position < 0 || position >= size)
        detail::raise_argument(where, "position", double(position),
                               "the table has " + std::to_string(size) + " positions, from 0 on");
    };
    if (rows == 0) return;
    if (given_) {
      for (const index position : each_) check(position);
    } else {
      check(first_);
      if (rows > size - first_) check(size);
    }
  }

 private:
  index first_ = 0;
  std::span<const index> each_{};
  bool given_ = false;
};

namespace detail {

inline void check_positive(const char* where, const char* name, double value) {
  if (!(value > 0) || !std::isfinite(value))
    raise_argument(where, name, value, "it is positive and finite");
}

inline void check_count(const char* where, const char* name, index count) {
  if (count < 0) raise_argument(where, name, double(count), "it is at least 0");
}

/// Which features of a head turn: `pairs` pairs (first + k·step, first + k·step + apart).
struct rotation {
  index pairs = 0;
  index step = 1;
  index apart = 0;
  index head_features = 0;
};

/// (a, b) → (a cos − b sin, b cos + a sin) for every pair of every head; what does not turn is
/// copied. O may be X itself. angles(row, pair, cos, sin) is asked once for each row and pair.
///
/// Blocks of rows and pairs, so that the angles of a block stay on the stack (8 KiB in double) for
/// all heads, and a column-major block in the first-level cache. One loop for every storage order,
/// hence the same bits.
template <class T, class Angles>
void turn_heads(const matrix_view<T>& X, const mutable_matrix_view<T>& O, const rotation& how,
                const Angles& angles) {
  constexpr index row_block = 8, pair_block = 64;
  T cos[row_block][pair_block], sin[row_block][pair_block];
  const index heads = how.head_features > 0 ? X.cols / how.head_features : 0;
  const auto turn_block = [&](index row, index rows, index pair, index pairs, index head) {
    for (index r = 0; r < rows; ++r)
      for (index k = 0; k < pairs; ++k) {
        const index left = head * how.head_features + (pair + k) * how.step;
        const T a = X(row + r, left), b = X(row + r, left + how.apart);
        O(row + r, left) = a * cos[r][k] - b * sin[r][k];
        O(row + r, left + how.apart) = b * cos[r][k] + a * sin[r][k];
      }
  };
  for (index row = 0; row < X.rows; row += row_block) {
    const index rows = std::min(row_block, X.rows - row);
    for (index pair = 0; pair < how.pairs; pair += pair_block) {
      const index pairs = std::min(pair_block, how.pairs - pair);
      for (index r = 0; r < rows; ++r)
        for (index k = 0; k < pairs; ++k) angles(row + r, pair + k, cos[r][k], sin[r][k]);
      for (index head = 0; head < heads; ++head) turn_block(row, rows, pair, pairs, head);
    }
  }
  if (O.data == X.data) return;
  for (index i = 0; i < X.rows; ++i)
    for (index head = 0; head < heads; ++head)
      for (index j = 2 * how.pairs; j < how.head_features; ++j)
        O(i, head * how.head_features + j) = X(i, head * how.head_features + j);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
