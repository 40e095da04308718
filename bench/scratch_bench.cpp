// Does scratch stay small? At most 4 MiB for each worker for d ≤ 1024, whatever n and m: a row
// whose first call takes more fails.

#include "support/forward.hpp"

namespace {

using bench::index;
using bench::matrix;
using bench::shape;

constexpr index window = 256;  // keys before the query's own

[[nodiscard]] double pairs_of(const shape& s) {
  if (!s.causal) return double(s.n) * double(s.m);
  return double(s.n) * double(window + 1) - double(window * (window + 1) / 2);
}

/// All keys, or (causal) those of a window.
[[nodiscard]] bench::row scratch_row(const shape& s) {
  bench::row r = bench::dot_row<float>(bench::path::automatic, s);
  if (s.causal) r.name.replace(r.name.find("causal"), 6, "window of 257");
  r.name += "/scratch";
  r.flops = 4 * pairs_of(s) * double(s.d);
  r.prepare = [s] {
    const auto in = bench::dot_inputs<float>::of(s);
    const auto O = std::make_shared<matrix<float>>(matrix<float>::Zero(s.n, s.d));
    const auto pool = std::make_shared<const softlook::exec::thread_pool>(s.threads);
    bench::prepared_row work;
    work.call = [in, O, s, pool] {
      const softlook::masks::window behind{.left = window, .right = 0};
      if (s.causal && s.threads > 1)
        bench::softlook_call(bench::path::automatic, s, in->Q, in->K, in->V, *O, behind, *pool);
      else if (s.causal)
        bench::softlook_call(bench::path::automatic, s, in->Q, in->K, in->V, *O, behind);
      else
        bench::softlook_call(bench::path::automatic, s, in->Q, in->K, in->V, *O);
    };
    work.error = [in, O, s] {
      const auto keys_of = [&](index i) {
        return s.causal ? bench::key_run{std::max<index>(i - window, 0), i + 1}
                        : bench::key_run{0, s.m};
      };
      return bench::sampled_error(in->V, *O, keys_of, bench::dot_scores(in->Q, in->K));
    };
    work.tolerance = bench::tolerance<float>();
    work.most_scratch_bytes = double(s.threads) * 4 * 1024 * 1024;
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  constexpr bench::index long_run = 131072;
  std::vector<bench::row> rows;
  rows.push_back(scratch_row({.n = long_run, .m = long_run, .d = 64, .causal = true}));
  rows.push_back(
      scratch_row({.n = long_run, .m = long_run, .d = 64, .threads = 2, .causal = true}));
  rows.push_back(scratch_row({.n = 64, .m = long_run, .d = 64}));
  rows.push_back(scratch_row({.n = 4, .m = long_run, .d = 64}));
  rows.push_back(scratch_row({.n = 4096, .m = 4096, .d = 1024, .causal = true}));
  rows.push_back(scratch_row({.n = 512, .m = 4096, .d = 1024}));
  rows.push_back(scratch_row({.n = 4, .m = 4096, .d = 1024}));
  return bench::run_rows(argc, argv, std::move(rows));
}
