// Does a small call cost more than a materialised one? relative_time is the row's time over that of
// the library's own naive kernel, relative_to_eigen over that of plain Eigen; calls are timed in
// batches, because one takes less than a microsecond.

#include "support/forward.hpp"

namespace {

using bench::index;
using bench::matrix;
using bench::path;
using bench::shape;

[[nodiscard]] bench::row small_row(path which, const shape& s) {
  bench::row r = bench::dot_row<float>(which, s);
  r.name = std::string("small/") + (which == path::flash ? "flash" : "auto") +
           "/full/n:" + std::to_string(s.n) + "/m:" + std::to_string(s.m) +
           "/d:" + std::to_string(s.d);
  r.prepare = [s, prepare = r.prepare] {
    bench::prepared_row work = prepare();
    const auto in = bench::dot_inputs<float>::of(s);
    const auto O = std::make_shared<matrix<float>>(matrix<float>::Zero(s.n, s.d));
    work.others.push_back({.call = [in, O] {
      const softlook::options pinned{.kernel = softlook::kernel::naive};
      softlook::attention_into(in->Q, in->K, in->V, *O, pinned);
    }});
    // Not bench::naive_runner: its executor would count here.
    const auto plain_eigen = [in, O, kept = fair_naive::make_buffers()] {
      fair_naive::dot(bench::naive_view(in->Q), bench::naive_view(in->K), bench::naive_view(in->V),
                      bench::naive_output(*O), false, *kept);
    };
    work.others.push_back({.call = plain_eigen, .counter = "relative_to_eigen"});
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  const auto add = [&](const shape& s) {
    for (const path which : {path::flash, path::automatic}) rows.push_back(small_row(which, s));
  };
  for (const bench::index n : {1, 2, 4, 16}) add({.n = n, .m = n, .d = 8});
  // 8 keys are a panel, 16 queries a vector, 48 a register tile of AVX-512.
  for (const bench::index n : {1, 2, 4, 8, 16, 24, 32, 48}) add({.n = n, .m = n, .d = 64});
  add({.n = 1, .m = 64, .d = 64});
  add({.n = 64, .m = 1, .d = 64});
  add({.n = 3, .m = 1000, .d = 64});
  add({.n = 1000, .m = 3, .d = 64});
  return bench::run_rows(argc, argv, std::move(rows));
}
