// Sparse patterns: does time follow the tiles that a mask leaves, and what do Linformer and
// Nyströmformer cost beside them? relative_time is the row's time over that of full attention.

#include <array>
#include <cstdio>
#include <softlook/attention.hpp>
#include <softlook/attention/linformer.hpp>
#include <softlook/attention/nystrom.hpp>
#include <softlook/mask/patterns.hpp>

#include "support/inputs.hpp"
#include "support/row.hpp"
#include "support/tiles.hpp"

namespace {

using bench::index;
using matrix = bench::matrix<float>;
namespace masks = softlook::masks;

constexpr index d = 64;

struct problem {
  matrix Q, K, V, O;
  explicit problem(index n)
      : Q(bench::random_matrix<float>(n, d, 1)),
        K(bench::random_matrix<float>(n, d, 2)),
        V(bench::random_matrix<float>(n, d, 3)),
        O(n, d) {}
};

std::string name_for(const std::string& what, const std::string& density, index n) {
  return "sparse/auto/" + what + density + "/n:" + std::to_string(n) + "/d:" + std::to_string(d);
}

/// The share of tiles of 48 queries × 96 keys, those of AVX-512, that hold an allowed pair.
template <class Mask>
std::string density_of(const Mask& mask, index n) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "/tiles:%.4f", bench::share_of_tiles(mask, n, 48, 96));
  return text.data();
}

/// Allowed pairs, from rows that lie evenly: patterns favour the ends.
template <class Mask>
double pairs_of(const Mask& mask, index n) {
  const softlook::problem size{.queries = std::int32_t(n), .keys = std::int32_t(n)};
  double pairs = 0, rows = 0;
  for (index i = 0; i < n; i += 37, ++rows)
    for (index j = 0; j < n; ++j)
      pairs += mask.allows(std::int32_t(i), std::int32_t(j), size) ? 1 : 0;
  return pairs / rows * double(n);
}

/// Sampled rows against nested loops in double over the allowed pairs.
template <class Mask>
double error_of(const problem& p, const Mask& mask) {
  if (!p.O.allFinite()) return std::numeric_limits<double>::quiet_NaN();
  const auto n = std::int32_t(p.Q.rows());
  const auto score = bench::dot_scores(p.Q, p.K);
  double worst = 0;
  for (const index i : bench::sampled_rows(n)) {
    Eigen::RowVectorXd truth = Eigen::RowVectorXd::Zero(d);
    double sum = 0;  // scores of these inputs are far from overflow
    for (std::int32_t j = 0; j < n; ++j) {
      if (!mask.allows(std::int32_t(i), j, {.queries = n, .keys = n})) continue;
      const double weight = std::exp(score(i, j));
      sum += weight;
      truth += weight * p.V.row(j).cast<double>();
    }
    truth /= sum > 0 ? sum : 1;
    worst = std::max(worst, (truth - p.O.row(i).cast<double>()).cwiseAbs().maxCoeff());
  }
  return worst;
}

void compare_with_full(bench::prepared_row& work, const std::shared_ptr<problem>& p) {
  work.others.push_back({.call = [p] { softlook::attention_into(p->Q, p->K, p->V, p->O); }});
}

template <class Mask>
bench::row masked_row(const std::string& what, const Mask& mask, index n) {
  bench::row r{.name = name_for(what, density_of(mask, n), n),
               .flops = 4 * pairs_of(mask, n) * double(d),
               .prepare = {}};
  r.prepare = [mask, n] {
    const auto p = std::make_shared<problem>(n);
    bench::prepared_row work;
    work.call = [p, mask] { softlook::attention_into(p->Q, p->K, p->V, p->O, mask); };
    work.error = [p, mask] { return error_of(*p, mask); };
    work.tolerance = bench::tolerance<float>();
    compare_with_full(work, p);
    return work;
  };
  return r;
}

/// Approximations have another result: their tests check it. Here it is finite.
double finite(const problem& p) {
  return p.O.allFinite() ? 0 : std::numeric_limits<double>::quiet_NaN();
}

bench::row linformer_row(index n, index k) {
  bench::row r{.name = name_for("linformer/k:" + std::to_string(k), "", n),
               .flops = 8 * double(n) * double(k) * double(d),
               .prepare = {}};
  r.prepare = [n, k] {
    const auto p = std::make_shared<problem>(n);
    const matrix E = bench::random_matrix<float>(k, n, 4) / std::sqrt(float(n));
    bench::prepared_row work;
    work.call = [p, E] { softlook::linformer_attention_into(p->Q, p->K, p->V, E, E, p->O); };
    work.error = [p] { return finite(*p); };
    compare_with_full(work, p);
    return work;
  };
  return r;
}

bench::row nystrom_row(index n, index landmarks, index width) {
  const double convolution = width > 0 ? 2 * double(n) * double(width) * double(d) : 0;
  bench::row r{.name = name_for("nystrom/landmarks:" + std::to_string(landmarks) +
                                    (width > 0 ? "/convolution:" + std::to_string(width) : ""),
                                "", n),
               .flops = 8 * double(n) * double(landmarks) * double(d) + convolution,
               .prepare = {}};
  r.prepare = [n, landmarks, width] {
    const auto p = std::make_shared<problem>(n);
    const matrix C = bench::random_matrix<float>(1, std::max<index>(width, 1), 5);
    bench::prepared_row work;
    work.call = [p, C, landmarks, width] {
      const softlook::nystrom how{.landmarks = landmarks};
      if (width > 0)
        softlook::nystrom_attention_into(p->Q, p->K, p->V, p->O, how, C);
      else
        softlook::nystrom_attention_into(p->Q, p->K, p->V, p->O, how);
    };
    work.error = [p] { return finite(*p); };
    compare_with_full(work, p);
    return work;
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  for (const bench::index n : {4096, 16384}) {
    rows.push_back(masked_row("full", masks::none{}, n));
    for (const bench::index random : {1, 3, 7, 15, 31})
      rows.push_back(masked_row(
          "blocks of 96",
          masks::big_bird({.window = 1, .global = 0, .random = random, .seed = 1}, n), n));
    rows.push_back(masked_row("bigbird of 96", masks::big_bird({.seed = 1}, n), n));
    rows.push_back(masked_row("bigbird of 64", masks::big_bird({.block = 64, .seed = 1}, n), n));
    rows.push_back(
        masked_row("longformer 512", masks::longformer({.window = 512, .global = {0}}), n));
    rows.push_back(masked_row("strided 512", masks::strided(512), n));
    rows.push_back(masked_row("fixed 512, 16", masks::fixed(512, 16), n));
    rows.push_back(masked_row("fixed 128, 8", masks::fixed(128, 8), n));
    rows.push_back(linformer_row(n, 256));
    rows.push_back(nystrom_row(n, 64, 0));
    rows.push_back(nystrom_row(n, 64, 33));
  }
  return bench::run_rows(argc, argv, std::move(rows));
}
