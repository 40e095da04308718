// What does a plain build lose? relative_time is the time of a call built -O2 over that of the same
// source built -O3 -march=native; at most 1.05 is wanted.

#include "support/built_twice.hpp"
#include "support/forward.hpp"

namespace {

using bench::matrix;
using bench::shape;

[[nodiscard]] bench::row flags_row(const shape& s) {
  bench::row r = bench::dot_row<float>(bench::path::automatic, s);
  r.name += "/plain";
  r.prepare = [s] {
    const auto arguments = [s](const bench::dot_inputs<float>& in, matrix<float>& O) {
      return built_twice::arguments{bench::naive_view(in.Q), bench::naive_view(in.K),
                                    bench::naive_view(in.V), bench::naive_output(O), s.causal};
    };
    bench::prepared_row work = bench::dot_work<float>(
        s, [=](const auto& in, auto& O) { built_twice::plain(arguments(in, O)); });
    bench::prepared_row native = bench::dot_work<float>(
        s, [=](const auto& in, auto& O) { built_twice::native(arguments(in, O)); });
    work.others.push_back({.call = native.call});
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  for (const bool causal : {false, true}) {
    rows.push_back(flags_row({.n = 64, .m = 64, .d = 64, .causal = causal}));
    rows.push_back(flags_row({.n = 512, .m = 512, .d = 64, .causal = causal}));
    rows.push_back(flags_row({.n = 2048, .m = 2048, .d = 64, .causal = causal}));
    rows.push_back(flags_row({.n = 4096, .m = 4096, .d = 128, .causal = causal}));
  }
  rows.push_back(flags_row({.n = 1, .m = 4096, .d = 128}));
  return bench::run_rows(argc, argv, std::move(rows));
}
