// What 100,000 tokens look at. Their weights would be a matrix of 40 GB; here they are never
// stored: the map is drawn from blocks averaged to pixels, a part of it is computed again exactly,
// and the strongest keys of some queries are listed. All of it exact, by the tiled kernel, in O(n)
// memory.
//
// Dao et al., "FlashAttention", 2022, algorithm 4 (weights computed again from the statistics of a
// row).
//
// Run: hundred_thousand [TOKENS]   writes hundred_thousand.svg, hundred_thousand_zoom.svg
//
// expect: query 90000 looks most at 45000
// expect: the pixels of a row sum up to 1\.000

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <softlook/attention/weights.hpp>
#include <softlook/softlook.hpp>
#include <vector>

using Eigen::Index;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

int main(int argc, char** argv) {
  const Index n = argc > 1 ? std::max(1000L, std::atol(argv[1])) : 100000, d = 16;
  // Each token asks for what stands half as far from the start, and for what lies near.
  const auto angle = [n](float position, Index c) {
    return 6.2832f * position / float(n) * float(Index{1} << (c / 2)) * 4;
  };
  const auto at = [&](Index n_rows, float scale) {
    return matrix(matrix::NullaryExpr(n_rows, d, [&](Index i, Index c) {
      const float x = angle(scale * float(i), c);
      return c % 2 == 0 ? std::cos(x) : std::sin(x);
    }));
  };
  const matrix Q = 6 * at(n, 0.5f), K = at(n, 1.0f);
  const softlook::exec::thread_pool pool(2);
  const softlook::masks::causal_top_left causal;

  const auto start = std::chrono::steady_clock::now();
  constexpr Index pixels = 64;
  const matrix map = softlook::weight_pixels(Q, K, pixels, pixels, causal, pool);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%ld tokens, a map of %ld x %ld pixels in %.1f s; as a matrix %.0f GB\n", long(n),
              long(pixels), long(pixels), seconds, double(n) * double(n) * 4e-9);
  std::printf("the pixels of a row sum up to %.3f\n",
              double(map.row(40).sum()) * double(n) / double(pixels));

  const std::vector<Index> some{n / 10, n / 2, n / 10 * 9};
  for (const Index i : some) {
    const Index chosen[] = {i};
    const matrix row = softlook::weights_of_queries(Q, K, chosen, causal);
    Index most = 0;
    row.row(0).maxCoeff(&most);
    std::printf("query %ld looks most at %ld, with %.5f of its weight\n", long(i), long(most),
                double(row(0, most)));
  }

  std::vector<std::string> names(pixels);
  const auto draw = [&](const matrix& P, const char* file) {
    std::ofstream(file) << softlook::inspect::to_svg(
        softlook::inspect::heat_map(P / P.maxCoeff(), names, names));
  };
  draw(map, "hundred_thousand.svg");
  const softlook::range queries{n / 10 * 9, n / 10 * 9 + 640},
      keys{n / 10 * 9 / 2 - 320, n / 10 * 9 / 2 + 320};
  draw(softlook::weight_pixels(Q, K, pixels, pixels, queries, keys, causal, pool),
       "hundred_thousand_zoom.svg");
}
