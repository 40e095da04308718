#pragma once

#include <algorithm>
#include <cmath>

#include "softlook/engine/call/readable.hpp"
#include "softlook/engine/call/sorted_call.hpp"
#include "softlook/position/token_positions.hpp"

// The loops that turn pairs of features and add rows of a table.

SOFTLOOK_NAMESPACE_BEGIN
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

/// How a loop over rows or over pairs walks through X and O.
struct turn_axis {
  index x_stride;
  index o_stride;
  index count;
};

/// Outer × inner pairs; the second feature of a pair lies `apart` from the first.
struct turn_walk {
  turn_axis outer;
  turn_axis inner;
  turn_axis apart;
};

/// (a, b) → (a cos − b sin, b cos + a sin). Angles are rows of `angle_block` for each outer step.
/// The only loop there is for any storage order, so that all get the same bits.
inline constexpr index angle_block = 64;
template <class T>
void turn_block(const T* x, T* o, const turn_walk& walk, const T* cos, const T* sin) {
  const turn_axis outer = walk.outer, inner = walk.inner, apart = walk.apart;
  for (index u = 0; u < outer.count; ++u)
    for (index v = 0; v < inner.count; ++v) {
      const T* from = x + u * outer.x_stride + v * inner.x_stride;
      T* to = o + u * outer.o_stride + v * inner.o_stride;
      const T c = cos[u * angle_block + v], s = sin[u * angle_block + v];
      const T a = from[0], b = from[apart.x_stride];
      to[0] = a * c - b * s;
      to[apart.o_stride] = b * c + a * s;
    }
}

/// Turns every pair of every head of X into O, which may be X itself; what does not turn is copied.
/// angles(row, pair, cos, sin) is asked once for each row and pair.
///
/// Blocks of 8 × 64 rows and pairs, long in the direction that is contiguous in memory, so that the
/// angles of a block stay on the stack (8 KiB in double) for all heads and the features in the
/// first-level cache, also where the columns of a matrix are a power of two apart.
template <class T, class Angles>
void turn_heads(const matrix_view<T>& X, const mutable_matrix_view<T>& O, const rotation& how,
                const Angles& angles) {
  constexpr index short_block = 8;
  T cos[short_block * angle_block], sin[short_block * angle_block];
  const bool by_columns = O.row_stride < O.col_stride;
  const index row_block = by_columns ? angle_block : short_block;
  const index pair_block = by_columns ? short_block : angle_block;
  const index heads = X.cols / how.head_features;
  const turn_axis apart{how.apart * X.col_stride, how.apart * O.col_stride, 2};
  for (index row = 0; row < X.rows; row += row_block)
    for (index pair = 0; pair < how.pairs; pair += pair_block) {
      const turn_axis rows{X.row_stride, O.row_stride, std::min(row_block, X.rows - row)};
      const turn_axis pairs{how.step * X.col_stride, how.step * O.col_stride,
                            std::min(pair_block, how.pairs - pair)};
      for (index r = 0; r < rows.count; ++r)
        for (index k = 0; k < pairs.count; ++k) {
          const index place = by_columns ? k * angle_block + r : r * angle_block + k;
          angles(row + r, pair + k, cos[place], sin[place]);
        }
      for (index head = 0; head < heads; ++head) {
        const index left = head * how.head_features + pair * how.step;
        turn_block(&X(row, left), &O(row, left),
                   by_columns ? turn_walk{pairs, rows, apart} : turn_walk{rows, pairs, apart}, cos,
                   sin);
      }
    }
  if (O.data == X.data) return;
  for (index head = 0; head < heads; ++head)
    for (index i = 0; i < X.rows; ++i)
      for (index j = 2 * how.pairs; j < how.head_features; ++j)
        O(i, head * how.head_features + j) = X(i, head * how.head_features + j);
}

/// X(i, j) += table(at[i], j). The table is row-major; where X is not, blocks keep both in the
/// first-level cache.
template <class T, class Table>
void add_positions(const mutable_matrix_view<T>& X, const Table& table, const token_positions& at) {
  if (X.row_stride >= X.col_stride) {
    for (index i = 0; i < X.rows; ++i)
      for (index j = 0; j < X.cols; ++j) X(i, j) += table(at[i], j);
    return;
  }
  constexpr index row_block = 16, col_block = 8;
  for (index row = 0; row < X.rows; row += row_block)
    for (index col = 0; col < X.cols; col += col_block)
      for (index j = col; j < std::min(col + col_block, X.cols); ++j)
        for (index i = row; i < std::min(row + row_block, X.rows); ++i) X(i, j) += table(at[i], j);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
