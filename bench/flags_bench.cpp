// What does a plain build lose? relative_time is the time of a call built -O2 over that of the same
// source built -O3 -march=native; at most 1.05 is wanted.

#include "support/built_twice.hpp"
#include "support/forward.hpp"

namespace {

using bench::index;
using bench::matrix;
using bench::shape;

[[nodiscard]] bench::row flags_row(const shape& s) {
  bench::row r = bench::dot_row<float>(bench::path::automatic, s);
  r.name += "/plain";
  r.prepare = [s] {
    const auto in = bench::dot_inputs<float>::of(s);
    const auto O = std::make_shared<matrix<float>>(matrix<float>::Zero(s.n, s.d));
    const auto other = std::make_shared<matrix<float>>(matrix<float>::Zero(s.n, s.d));
    const auto arguments = [s, in](matrix<float>& output) {
      return built_twice::arguments{bench::naive_view(in->Q), bench::naive_view(in->K),
                                    bench::naive_view(in->V), bench::naive_output(output),
                                    s.causal};
    };
    bench::prepared_row work;
    work.call = [O, a = arguments(*O)] { built_twice::plain(a); };
    work.others.push_back({.call = [other, a = arguments(*other)] { built_twice::native(a); }});
    work.error = [in, O, s] { return bench::dot_error(*in, *O, s); };
    work.tolerance = bench::tolerance<float>();
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
