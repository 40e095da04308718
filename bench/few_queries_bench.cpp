// Decoding: few queries against many keys are bound by reading K and V once, so the measure is B,
// the read bandwidth over the same memory. Rows are hot (the same K and V in every call) unless the
// name ends in /cold: then the calls go round a ring of K and V that is four times the largest
// cache.

#include "support/forward.hpp"

namespace {

using bench::index;
using bench::matrix;
using bench::path;
using bench::shape;

struct memory {
  matrix<float> K, V;
};

// Copies of one problem, each in its own memory: whichever a call takes, the result is the same.
class ring {
 public:
  ring(const shape& s, bool cold) {
    const bench::dot_inputs<float> in(s);
    const std::size_t bytes = std::size_t(in.K.size() + in.V.size()) * sizeof(float);
    Q_ = in.Q;
    memories_.assign(cold ? bench::copies_in_ring(bytes) : 1, {in.K, in.V});
  }

  [[nodiscard]] const matrix<float>& Q() const { return Q_; }
  [[nodiscard]] const memory& first() const { return memories_.front(); }
  [[nodiscard]] std::size_t size() const { return memories_.size(); }
  [[nodiscard]] const memory& next() { return memories_[turn_++ % memories_.size()]; }
  [[nodiscard]] std::vector<bench::region> regions() const {
    std::vector<bench::region> all;
    for (const memory& x : memories_)
      for (const matrix<float>* part : {&x.K, &x.V})
        all.push_back({part->data(), std::size_t(part->size()) * sizeof(float)});
    return all;
  }

 private:
  matrix<float> Q_;
  std::vector<memory> memories_;
  std::size_t turn_ = 0;
};

[[nodiscard]] bench::row few_queries_row(path which, const shape& s, bool cold) {
  bench::row r{.name = bench::forward_name(which, "dot", s) + (cold ? "/cold" : ""),
               .flops = 4.0 * double(s.n) * double(s.m) * double(s.d),
               .prepare = {}};
  r.prepare = [which, s, cold] {
    const auto in = std::make_shared<ring>(s, cold);
    const auto O = std::make_shared<matrix<float>>(matrix<float>::Zero(s.n, s.d));
    const auto pool = std::make_shared<const softlook::exec::thread_pool>(1);
    bench::prepared_row work;
    const auto with = [in, O, which, s](const auto& naive) {
      const memory& keys = in->next();
      if (which == path::naive)
        naive(in->Q(), keys.K, keys.V, *O);
      else
        bench::softlook_call(which, s, in->Q(), keys.K, keys.V, *O);
    };
    work.call = [with, naive = bench::naive_runner<float>(s, pool)] { with(naive); };
    if (which == path::naive)
      work.first_call = [with, s, pool] { with(bench::naive_runner<float>(s, pool)); };
    work.error = [in, O] {
      return bench::sampled_error(in->first().V, *O, false,
                                  bench::dot_scores(in->Q(), in->first().K));
    };
    work.tolerance = bench::tolerance<float>();
    work.reads = in->regions();
    work.calls_per_read = double(in->size());
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  const auto add = [&](std::initializer_list<path> paths, const shape& s, bool cold) {
    for (const path which : paths) rows.push_back(few_queries_row(which, s, cold));
  };
  // K and V together: 4 MiB (a slice of a last cache), 8, 16, and 32 MiB (more than most of them).
  for (const bench::index m : {4096, 8192, 16384, 32768}) {
    add({path::naive, path::automatic}, {.n = 1, .m = m, .d = 128}, false);
    add({path::naive, path::automatic}, {.n = 1, .m = m, .d = 128}, true);
  }
  // Where does reading once stop to pay? The choice of `auto` should follow the faster one.
  for (const bench::index n : {1, 2, 4, 8, 16, 32, 48})
    add({path::flash, path::automatic}, {.n = n, .m = 4096, .d = 64}, false);
  return bench::run_rows(argc, argv, std::move(rows));
}
