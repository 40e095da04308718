// What do two threads bring? P is that of two threads at once; the counter `speedup` compares with
// the same call on one thread, timed before and after.

#include <thread>

#include "support/forward.hpp"

int main(int argc, char** argv) {
  using bench::path;
  using bench::shape;
  std::vector<bench::row> rows;
  const auto add = [&](path which, const shape& two) {
    bench::row r = bench::dot_row<float>(which, two);
    shape one = two;
    one.threads = 1;
    r.prepare = [prepare_two = r.prepare, prepare_one = bench::dot_row<float>(which, one).prepare] {
      bench::prepared_row work = prepare_two();
      work.others.push_back({.call = prepare_one().call, .counter = "speedup", .speedup = true});
      return work;
    };
    rows.push_back(std::move(r));
  };
  if (std::thread::hardware_concurrency() < 2) return bench::run_rows(argc, argv, {});
  for (const bench::index n : {512, 2048, 8192})
    for (const bool causal : {false, true})
      for (const path which : {path::naive, path::flash}) {
        if (which == path::naive && (causal || n == 8192)) continue;
        add(which, {.n = n, .m = n, .d = 64, .threads = 2, .causal = causal});
      }
  for (const bench::index n : {512, 2048})
    for (const path which : {path::naive, path::automatic})
      add(which, {.n = n, .m = n, .d = 64, .heads = 8, .threads = 2});
  return bench::run_rows(argc, argv, std::move(rows));
}
