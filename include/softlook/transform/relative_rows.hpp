#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup transforms
/// \{

namespace detail {

/// Numbers of relative positions −reach … reach, for each query its own or for all the same, beside
/// each other. The outermost are repeated at both ends, so that those of four keys in a row can be
/// read together wherever they begin.
template <class T>
struct relative_rows {
  static constexpr std::int32_t margin = 3;

  const T* first;      // of query 0, with the margin
  index query_stride;  // 0: all the same
  std::int32_t reach;
  std::int32_t position;  // of query 0, when key 0 is at 0

  static constexpr int most_together = margin + 1;
  [[nodiscard]] bool queries_beside() const { return false; }
  [[nodiscard]] bool keys_beside() const { return true; }
  [[nodiscard]] static constexpr index width(index reach) { return 2 * (reach + margin) + 1; }

  /// Where the number of a query and a key, and those of the next three keys, are.
  [[nodiscard]] const T* at(std::int32_t query, std::int32_t key) const {
    const std::int32_t relative = (key - query) - position, end = reach + margin;
    const std::int32_t low = relative < -end ? -end : relative;
    return first + query * query_stride + (low > reach ? reach : low) + end;
  }
};

/// Where query 0 stands: as given, or so that the last query is beside the last key; m − n may be
/// negative.
[[nodiscard]] inline std::int32_t position_of_query_0(const std::optional<index>& given,
                                                      const problem& p) {
  return given ? static_cast<std::int32_t>(*given) : p.keys - p.queries;
}

/// Repeats the outermost of 2·reach + 1 numbers, which stand behind the margin.
template <class T>
void fill_margins(T* row, index reach) {
  constexpr index margin = relative_rows<T>::margin;
  std::fill_n(row, margin, row[margin]);
  T* const last = row + margin + 2 * reach;
  std::fill_n(last + 1, margin, *last);
}

}  // namespace detail

/// \}

SOFTLOOK_NAMESPACE_END
