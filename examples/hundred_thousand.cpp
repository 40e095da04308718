// What 100,000 tokens look at. Their weights would be a matrix of 40 GB; here they are never
// stored: the map is drawn from blocks averaged to pixels, a part of it is computed again, weight
// by weight, and of each query the strongest keys are found. All of it exact, by the tiled kernel,
// in O(n) memory, and drawn as a page for the browser.
//
// Dao et al., "FlashAttention", 2022, algorithm 4 (weights computed again from the statistics of a
// row).
//
// Run: hundred_thousand [TOKENS]   writes hundred_thousand.html, .svg and _zoom.svg
//
// expect: query 90000 looks most at 45000
// expect: the pixels of a row sum up to 1\.000

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <softlook/attention/weights.hpp>
#include <softlook/inspect/report.hpp>
#include <softlook/softlook.hpp>
#include <vector>

using Eigen::Index;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

int main(int argc, char** argv) {
  const Index n = argc > 1 ? std::max(10000L, std::atol(argv[1])) : 100000, d = 16;
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
  constexpr Index pixels = 250;
  const matrix map = softlook::weight_pixels(Q, K, pixels, pixels, causal, pool);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%ld tokens, %ld x %ld pixels in %.1f s; as a matrix %.0f GB\n", long(n),
              long(pixels), long(pixels), seconds, double(n) * double(n) * 4e-9);
  std::printf("the pixels of a row sum up to %.3f\n",
              double(map.row(150).sum()) * double(n) / double(pixels));

  const auto strongest = softlook::strongest_weights(Q, K, 5, causal, pool);
  for (const Index i : {n / 10, n / 2, n / 10 * 9})
    std::printf("query %ld looks most at %ld, with %.5f of its weight\n", long(i),
                long(strongest.keys(i, 0)), double(strongest.weights(i, 0)));

  namespace inspect = softlook::inspect;
  const Index side = 500, middle = n / 10 * 9;
  const softlook::range queries{middle - side / 2, middle + side / 2},
      keys{middle / 2 - side / 2, middle / 2 + side / 2};
  const matrix zoomed = softlook::weight_pixels(Q, K, side, side, queries, keys, causal, pool);
  inspect::long_map seen(n, map, strongest);
  seen.zoom(queries, keys, zoomed);
  inspect::write_html("hundred_thousand.html",
                      inspect::report(seen, {}, {}, {.title = "100,000 tokens"}));

  const auto draw = [](const matrix& P, const char* file) {
    constexpr Index cells = 50;  // an SVG has an element for each pixel
    const matrix coarse = matrix::NullaryExpr(cells, cells, [&](Index r, Index c) {
      const Index block = P.rows() / cells;
      return P.block(r * block, c * block, block, block).mean();
    });
    const std::vector<std::string> names(cells);
    std::ofstream(file) << inspect::to_svg(
        inspect::heat_map(coarse / coarse.maxCoeff(), names, names));
  };
  draw(map, "hundred_thousand.svg");
  draw(zoomed, "hundred_thousand_zoom.svg");
}
