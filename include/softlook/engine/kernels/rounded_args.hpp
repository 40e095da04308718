#pragma once

#include <cstdint>

#include "softlook/engine/kernels/args.hpp"

// Factors of products that are rounded to short numbers.
//
// Numbers that one instruction multiplies and adds up lie together in a group of 32 bits: two of
// bfloat16, four of int8. So W and X are matrices of groups, whose depth is a half or a quarter,
// packed and read like matrices of float; only what a step of a product does differs.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Groups, by what multiplies them: an instruction, or others in its place. Memory of theirs holds
/// numbers and sums of other types.
struct __attribute__((may_alias)) bfloat16_pair {
  std::uint32_t bits;
};
struct __attribute__((may_alias)) int8_quad {
  std::uint32_t bits;
};
struct __attribute__((may_alias)) emulated_pair {
  std::uint32_t bits;
};
struct __attribute__((may_alias)) emulated_quad {
  std::uint32_t bits;
};

/// Groups in a row of a tile register; the depth of a product is filled up to it with zeros.
inline constexpr index tile_groups = 16;
/// In front of the groups of a row of X: of int8 its scale.
inline constexpr index row_header = 16;

[[nodiscard]] constexpr index groups_of(index inputs, index group) {
  return round_up((inputs + group - 1) / group, tile_groups);
}
/// Scalars of 32 bits of a rounded row: an odd number of lines, because rows a power of two apart
/// fall into one set of the first-level cache.
[[nodiscard]] constexpr index rounded_columns(index groups) {
  return groups == 0 ? row_header : (row_header + groups) | row_header;
}

/// Int8: products of 255·127 at most stay below 2^31 in a sum.
inline constexpr index most_int8_inputs = index{1} << 16;
/// X is kept as 128 + x̂, because instructions multiply numbers without a sign by such with one.
/// Behind the scales of the columns of W stands what that adds to a sum of each.
inline constexpr std::int32_t int8_offset = 128;

/// Rows of 8 bits are multiplied as they are where a head has a multiple of 64 columns, keys up to
/// 1024.
inline constexpr index rounded_column_step = 64, most_rounded_columns = 1024;

/// What the tiled kernel needs besides, in scalars from where its own scratch ends.
struct rounded_layout {
  index query_groups = 0, weight_groups = 0;  // pairs of features, and of keys of a tile
  index key_pitch = 0, key_rows = 0;          // from row to row, and how many
  index value_pitch = 0, value_rows = 0;
  index queries = 0, keys = 0, values = 0, weights = 0, sums = 0;
  index wide = 0;  // what is about to be rounded
  index total = 0;
};

/// Rows that the products of tile registers take at a time: they read so many from any row on.
inline constexpr index rounded_rows = 32;

[[nodiscard]] constexpr rounded_layout rounded_layout_for(index features, index values,
                                                          const tiled_layout& own) {
  constexpr index width = packed_panel_width<float>;
  rounded_layout at;
  at.query_groups = groups_of(features, 2);
  at.weight_groups = groups_of(own.key_tile, 2);
  at.key_pitch = rounded_columns(at.query_groups);
  at.key_rows = round_up(own.key_tile, rounded_rows) + rounded_rows;
  at.value_pitch = rounded_columns(at.weight_groups);
  at.value_rows = round_up(values, rounded_rows);
  const auto take = [&](index count) {
    const index start = at.total;
    at.total += round_up(count, 16);
    return start;
  };
  at.queries = take(own.query_tiles * at.query_groups * width);
  at.keys = take(at.key_rows * at.key_pitch);
  at.values = take(at.value_rows * at.value_pitch);
  at.weights = take(at.weight_groups * width);
  at.sums = take(at.value_rows * width);
  const index of_keys = own.key_tile * (features + 4), of_values = own.key_tile * values;
  const index of_queries = features * width;
  const index most = of_keys > of_values ? of_keys : of_values;
  at.wide = take(most > of_queries ? most : of_queries);
  return at;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
