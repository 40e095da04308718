// Every way to compute one attention: kernel × instruction set × tile shape. A numerical test loops
// over them, so that no path is tested less than another.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "tests/support/kernels.hpp"
#include "tests/support/scalars.hpp"

namespace softlook_test {

struct way {
  std::string name;
  softlook::options opts;
};

inline std::ostream& operator<<(std::ostream& out, const way& which) { return out << which.name; }

inline softlook::options with_kernel(softlook::kernel which) {
  softlook::options opts;
  opts.kernel = which;
  return opts;
}

inline constexpr softlook::tile_shape smallest_tile{.keys = 1, .query_tiles = 1};

/// The kernels other than naive, on every instruction set; the tiled one with its own tiles and
/// with the smallest, so that a few keys span several tiles.
inline std::vector<way> fast_ways() {
  std::vector<way> ways;
  for (const auto isa : softlook::available_instruction_sets()) {
    softlook::options opts;
    opts.isa = isa;
    const std::string set = std::string(" on ") + softlook::name_of(isa);
    ways.push_back({"chosen by shape" + set, opts});
    opts.kernel = softlook::kernel::few_queries;
    ways.push_back({"few_queries" + set, opts});
    opts.kernel = softlook::kernel::tiled;
    ways.push_back({"tiled" + set, opts});
    opts.tile = smallest_tile;
    ways.push_back({"tiled with the smallest tiles" + set, opts});
  }
  return ways;
}

inline std::vector<way> every_way() {
  std::vector<way> ways = fast_ways();
  ways.insert(ways.begin(), {"naive", with_kernel(softlook::kernel::naive)});
  return ways;
}

}  // namespace softlook_test
