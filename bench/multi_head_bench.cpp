// Packed heads, no copies: what does a whole layer's attention cost?

#include "support/forward.hpp"

int main(int argc, char** argv) {
  using bench::path;
  std::vector<bench::row> rows;
  for (const bench::index n : {512, 2048})
    for (const bool causal : {false, true})
      for (const path which : {path::naive, path::flash, path::automatic})
        rows.push_back(
            bench::dot_row<float>(which, {.n = n, .m = n, .d = 64, .heads = 8, .causal = causal}));
  return bench::run_rows(argc, argv, std::move(rows));
}
