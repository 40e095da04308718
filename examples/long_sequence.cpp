// A long sequence: the materialised way stores n×n weights, which at n = 32768 are 4 GiB in float;
// the tiled way keeps a few tiles, whatever n is, and gives the same answer.
//
// Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018, algorithm 3; Rabe and
// Staats, "Self-attention Does Not Need O(n²) Memory", 2021; Dao et al., "FlashAttention", 2022.
//
// Naive is Eigen's products with the instruction set that the compiler was told to assume; tiled
// chooses the best one of the machine when it runs. Both use one thread.
//
// Run: long_sequence [FOLDER [LONGEST]]   writes no file
//
// expect: 32768 +would need +4096\.0 MiB
// expect: 2048 .* s +16\.0 MiB
// expect: the two agree

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <softlook/softlook.hpp>

using Eigen::Index;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// n tokens of d features that drift slowly, so that neighbours resemble each other.
matrix tokens(Index n, Index d, float phase) {
  return matrix::NullaryExpr(n, d, [phase](Index i, Index c) {
    return std::sin(0.001f * float(i * (c + 1)) + phase * float(c));
  });
}

template <class F>
double seconds(const F& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int main(int argc, char** argv) {
  const Index longest = argc > 2 ? std::atol(argv[2]) : 32768, d = 64;
  constexpr double mebi = 1024.0 * 1024.0, budget = 512;  // MiB that this program may take for P
  std::printf("%8s%29s%36s\n", "n", "naive: time, weights", "tiled: time, scratch");
  double worst = 0;

  for (Index n = 1024; n <= longest; n *= 2) {
    const matrix Q = tokens(n, d, 0.3f), K = tokens(n, d, 0.5f), V = tokens(n, d, 0.7f);
    const double weights = double(n) * double(n) * sizeof(float) / mebi;
    const bool fits = weights <= budget;

    matrix naive, tiled(n, d);
    std::printf("%8ld ", long(n));
    if (fits) {
      const double time = seconds([&] { naive = softlook::naive_attention(Q, K, V).output; });
      std::printf("%11.3f s %10.1f MiB ", time, weights);
    } else {
      std::printf("  would need  %10.1f MiB ", weights);
    }
    std::fflush(stdout);

    // Rows are independent, so progress costs nothing: where it takes long, ask in eight parts.
    softlook::workspace scratch;
    const Index part = fits ? n : n / 8;
    const double time = seconds([&] {
      for (Index i = 0; i < n; i += part) {
        softlook::flash_attention_into(Q.middleRows(i, part), K, V, tiled.middleRows(i, part),
                                       softlook::options{.workspace = &scratch});
        std::fputs(fits ? "        " : ".", stdout);
        std::fflush(stdout);
      }
    });
    std::printf("%11.3f s %10.1f MiB\n", time, double(scratch.bytes()) / mebi);
    if (fits) worst = std::max(worst, double((naive - tiled).cwiseAbs().maxCoeff()));
  }
  std::printf("%s: the largest difference is %.1e\n",
              worst < 1e-4 ? "the two agree" : "THE TWO DISAGREE", worst);
  return worst < 1e-4 ? 0 : 1;
}
