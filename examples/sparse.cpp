// Sparse patterns: which keys a query sees, and what is left to compute. Tiles of 48 queries × 96
// keys that a mask leaves empty cost nothing, others less: time follows them, not n².
//
// Child et al., "Generating Long Sequences with Sparse Transformers", 2019 (strided, fixed);
// Beltagy et al., "Longformer", 2020; Zaheer et al., "Big Bird", 2020.
//
// Run: sparse [FOLDER]   draws FOLDER/sparse.svg, the patterns for 32 tokens
//
// expect: causal +0\.500 +0\.512 .* agrees
// expect: strided +0\.062 +0\.294 .* agrees
// expect: fixed +0\.076 +0\.151 .* agrees
// expect: Longformer +0\.063 .* agrees
// expect: BigBird +0\.136 +0\.136 .* agrees

#include <cstdio>
#include <ctime>
#include <softlook/softlook.hpp>

using Eigen::Index;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
namespace masks = softlook::masks;
namespace inspect = softlook::inspect;

/// Processor time of the fastest of three calls.
template <class Mask>
double time_of(const matrix& X, const Mask& mask, matrix& O) {
  double best = 1e30;
  for (int call = 0; call < 3; ++call) {
    const std::clock_t start = std::clock();
    softlook::attention_into(X, X, X, O, mask);
    best = std::min(best, double(std::clock() - start));
  }
  return best;
}

/// The share of tiles of rows × cols pairs that hold an allowed one.
template <class Mask>
double share(const Mask& mask, int n, Index rows, Index cols) {
  double live = 0, all = 0;
  for (Index i = 0; i < n; i += rows)
    for (Index j = 0; j < n; j += cols, ++all)
      live += mask.coverage_of({i, std::min<Index>(i + rows, n)}, {j, std::min<Index>(j + cols, n)},
                               {.queries = n, .keys = n}) != softlook::coverage::none;
  return live / all;
}

int main(int argc, char** argv) {
  const std::string file = std::string(argc > 1 ? argv[1] : ".") + "/sparse.svg";
  const Index n = 4096;
  const matrix X = matrix::NullaryExpr(
      n, 64, [](Index i, Index c) { return std::sin(0.001f * float(i * (c + 1)) + float(c)); });
  matrix O(n, 64), same(n, 64);
  const double full = time_of(X, masks::none{}, O);
  std::printf("%-12s %8s %8s %8s\n", "share of", "pairs", "tiles", "time");

  std::vector<inspect::heat_map> maps;
  const auto show = [&](const char* name, const auto& small, const auto& mask) {
    // Without queries to tell keys apart, every key that a row may see has a weight.
    const matrix zero = matrix::Zero(32, 1), seen = softlook::attention_weights(zero, zero, small);
    maps.emplace_back(matrix((seen.array() > 0).cast<float>()), inspect::labels{},
                      inspect::labels{}, name);
    const double time = time_of(X, mask, O) / full;
    // The same pairs, asked one by one: no tile is left out.
    const softlook::problem size{.queries = int(n), .keys = int(n)};
    const auto allowed = [&](int i, int j) { return mask.allows(i, j, size); };
    softlook::attention_into(X, X, X, same, masks::where(allowed));
    std::printf("%-12s %8.3f %8.3f %8.3f   %s\n", name, share(mask, int(n), 1, 1),
                share(mask, int(n), 48, 96), time,
                O == same ? "agrees with every pair" : "DISAGREES");
  };
  show("causal", masks::causal_top_left{}, masks::causal_top_left{});
  show("strided", masks::strided(6), masks::strided(256));
  show("fixed", masks::fixed(6, 1), masks::fixed(512, 16));
  show("Longformer", masks::longformer({.window = 6, .dilation = 2, .global = {0, 9}}),
       masks::longformer({.window = 256, .global = {0, 9}}));
  show("BigBird", masks::big_bird({.block = 2, .global = 1, .random = 2, .seed = 1}, 32),
       masks::big_bird({.block = 96, .global = 1, .random = 1, .seed = 1}, n));
  inspect::write_svg(file, maps, {.decimals = -1, .per_row = 3});
  std::printf("drawn: %s\n", file.c_str());
}
