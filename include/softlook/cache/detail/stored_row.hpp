#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/engine/kernels/dispatch.hpp"
#include "softlook/engine/kernels/eight_bits.hpp"

// Numbers of the arithmetic as they are stored.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// How the kernels know a stored type.
template <class Stored>
struct kernel_storage {
  using type = Stored;
};
template <>
struct kernel_storage<Eigen::half> {
  using type = half_bits;
};
template <>
struct kernel_storage<Eigen::bfloat16> {
  using type = bfloat16_bits;
};

/// What T can be stored as: itself, and float also in 16 bits or, with scales, in 8.
template <class T, class Stored>
inline constexpr bool can_be_stored =
    std::is_same_v<T, Stored> ||
    (std::is_same_v<T, float> &&
     (std::is_same_v<arithmetic<Stored>, float> || std::is_same_v<Stored, std::int8_t>));

/// Functions that read pages of a stored type.
template <class T, class Stored>
[[nodiscard]] const row_functions<T>& paged_rows_of(instruction_set isa) {
  return stored_rows_of<T, typename kernel_storage<Stored>::type, true>(isa);
}

/// Row i of X as it is stored, and the scale of each head: the largest magnitude of 127.
template <class T, class Stored>
void store_row(const matrix_view<T>& X, index i, index heads, Stored* to, float* scales) {
  if constexpr (std::is_same_v<Stored, std::int8_t>) {
    const index columns = X.cols / heads;
    for (index h = 0; h < heads; ++h) {
      const index first = h * columns;
      float most = 0;
      for (index c = first; c < first + columns; ++c) most = std::max(most, std::abs(X(i, c)));
      const float scale = scales[h] = scale_of_8_bits(most);
      for (index c = first; c < first + columns; ++c)
        to[c] = scale == 0 ? Stored(0) : static_cast<Stored>(std::lrint(X(i, c) / scale));
    }
  } else {
    for (index c = 0; c < X.cols; ++c) to[c] = static_cast<Stored>(X(i, c));
  }
}

/// log2 of a power of two, or −1.
[[nodiscard]] constexpr index exact_log2(index x) {
  if (x < 1 || (x & (x - 1)) != 0) return -1;
  index shift = 0;
  while ((index{1} << shift) < x) ++shift;
  return shift;
}

inline void check_page_rows(const char* where, index page_rows) {
  if (exact_log2(page_rows) < 0 || page_rows > (index{1} << 20))
    raise_argument(where, "page_rows", double(page_rows),
                   "a page has 1, 2, 4 … 1048576 rows, a power of two");
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
