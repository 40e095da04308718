// Double precision; its P is that of double multiply-adds. The names end in /double.

#include "support/forward.hpp"

int main(int argc, char** argv) {
  using bench::path;
  std::vector<bench::row> rows;
  for (const bench::index d : {64, 128})
    for (const bool causal : {false, true})
      for (const path which : {path::naive, path::flash}) {
        rows.push_back(
            bench::dot_row<double>(which, {.n = 2048, .m = 2048, .d = d, .causal = causal}));
        rows.back().name += "/double";
      }
  return bench::run_rows(argc, argv, std::move(rows));
}
