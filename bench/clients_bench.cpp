// A decode step from a program of its own: is it faster than plain loops over floats, built -Ofast
// -march=native, as such programs are? Eight query heads of 64, rows of all heads; relative_time is
// the row's time over that of the loops. `loops` compares them with themselves: the noise.

#include <softlook/attention.hpp>
#include <softlook/attention/tensors.hpp>
#include <softlook/cache/kv_cache.hpp>

#include "support/inputs.hpp"
#include "support/plain_loops.hpp"
#include "support/row.hpp"

namespace {

using bench::index;
using bench::matrix;

constexpr index d = 64, query_heads = 8;

struct program {
  index m, kv;
  matrix<float> Q, K, V, O, loops_output;
  std::vector<float> scores;

  program(index positions, index kv_heads)
      : m(positions),
        kv(kv_heads),
        Q(bench::random_matrix<float>(1, query_heads * d, 1)),
        K(bench::random_matrix<float>(m, kv * d, 2)),
        V(bench::random_matrix<float>(m, kv * d, 3)),
        O(matrix<float>::Zero(1, query_heads * d)),
        loops_output(O),
        scores(std::size_t(m)) {}

  void run_loops(matrix<float>& to) {
    plain_loops::attend({Q.data(), K.data(), V.data(), scores.data(), to.data(), int(m),
                         int(query_heads), int(kv), int(d)});
  }
  [[nodiscard]] double error() const {
    double worst = 0;
    for (index h = 0; h < query_heads; ++h) {
      const index group = h / (query_heads / kv);
      const auto q = Q.middleCols(h * d, d);
      const auto keys = K.middleCols(group * d, d), values = V.middleCols(group * d, d);
      const double of_head =
          bench::sampled_error(values, O.middleCols(h * d, d), false, bench::dot_scores(q, keys));
      if (!(of_head <= worst)) worst = of_head;
    }
    return worst;
  }
};

using step = std::function<void()>;

step with_loops(const std::shared_ptr<program>& p) {
  return [p] { p->run_loops(p->O); };
}

step with_maps(const std::shared_ptr<program>& p) {
  return [p] {
    using map = Eigen::Map<const matrix<float>>;
    softlook::attention_into(map(p->Q.data(), 1, query_heads * d),
                             map(p->K.data(), p->m, p->kv * d), map(p->V.data(), p->m, p->kv * d),
                             p->O, softlook::heads{.query = query_heads, .kv = p->kv});
  };
}

step with_tensors(const std::shared_ptr<program>& p) {
  return [p] {
    const softlook::tensor_view<const float> Q{p->Q.data(), 1, query_heads, 1, d, 0, d, 0};
    softlook::tensor_view<const float> K{p->K.data(), 1, p->kv, p->m, d, 0, d, p->kv * d};
    softlook::tensor_view<const float> V = K;
    V.data = p->V.data();
    softlook::attention_into(
        Q, K, V, softlook::tensor_view<float>{p->O.data(), 1, query_heads, 1, d, 0, d, 0});
  };
}

step with_cache(const std::shared_ptr<program>& p) {
  const auto cache = std::make_shared<softlook::kv_cache<float>>(
      softlook::kv_cache_shape{.heads = p->kv, .key_features = d, .value_features = d});
  cache->append(p->K, p->V);
  return [p, cache] { cache->attend_into(p->Q, p->O); };
}

bench::row client_row(const std::string& how, step (*with)(const std::shared_ptr<program>&),
                      index m, index kv) {
  const auto number = [](index x) { return std::to_string(x); };
  bench::row r{.name = "clients/" + how + "/n:1/m:" + number(m) + "/d:" + number(d) +
                       "/heads:" + number(query_heads) + "/kv:" + number(kv),
               .flops = 4.0 * double(query_heads * m * d),
               .prepare = {}};
  r.prepare = [with, m, kv] {
    const auto p = std::make_shared<program>(m, kv);
    bench::prepared_row work;
    work.call = with(p);
    work.error = [p] { return p->error(); };
    work.tolerance = bench::tolerance<float>();
    work.others.push_back({.call = [p] { p->run_loops(p->loops_output); }});
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  for (const bench::index kv : {2, 4, 8})
    for (const bench::index m : {1, 8, 32, 128, 512, 2048}) {
      rows.push_back(client_row("loops", with_loops, m, kv));
      rows.push_back(client_row("maps", with_maps, m, kv));
      rows.push_back(client_row("tensors", with_tensors, m, kv));
      rows.push_back(client_row("cache", with_cache, m, kv));
    }
  return bench::run_rows(argc, argv, std::move(rows));
}
