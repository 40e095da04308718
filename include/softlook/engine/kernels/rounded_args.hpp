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

/// Groups, by what multiplies them: an instruction, or others in its place.
struct bfloat16_pair {
  std::uint32_t bits;
};
struct int8_quad {
  std::uint32_t bits;
};
struct emulated_pair {
  std::uint32_t bits;
};
struct emulated_quad {
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

}  // namespace detail
SOFTLOOK_NAMESPACE_END
