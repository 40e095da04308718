// How much faster than a materialised attention is the tiled one, and how does that grow with n?

#include "support/forward.hpp"

int main(int argc, char** argv) {
  using bench::path;
  std::vector<bench::row> rows;
  for (const bench::index d : {64, 128})
    // 64: less than a key tile. 128 … 512: ragged last tiles weigh most, scores stay in a 1 MiB L2.
    // From 2048 on the naive scores (16 MiB) leave it, from 4096 (64 MiB) on also most last caches.
    for (const bench::index n : {64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384})
      for (const bool causal : {false, true})
        for (const path which : {path::naive, path::flash, path::automatic}) {
          // The chosen kernel is the tiled one nearly everywhere: three sizes are enough to see it.
          if (which == path::automatic && n != 64 && n != 512 && n != 2048) continue;
          rows.push_back(bench::dot_row<float>(which, {.n = n, .m = n, .d = d, .causal = causal}));
        }
  return bench::run_rows(argc, argv, std::move(rows));
}
