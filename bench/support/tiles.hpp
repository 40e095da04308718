#pragma once

#include <algorithm>
#include <softlook/core/types.hpp>

#include "support/inputs.hpp"

namespace bench {

/// The share of tiles of `rows` queries × `cols` keys that hold an allowed pair, of n×n.
template <class Mask>
[[nodiscard]] double share_of_tiles(const Mask& mask, index n, index rows, index cols) {
  const softlook::problem size{.queries = std::int32_t(n), .keys = std::int32_t(n)};
  double live = 0, all = 0;
  for (index i = 0; i < n; i += rows)
    for (index j = 0; j < n; j += cols, ++all)
      if (mask.coverage_of({i, std::min(i + rows, n)}, {j, std::min(j + cols, n)}, size) !=
          softlook::coverage::none)
        ++live;
  return live / all;
}

}  // namespace bench
