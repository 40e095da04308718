// Keys and values that stay: a prompt is read once, its pages are shared by the hypotheses of a
// beam search, and the same rows take a half or a quarter of the memory in 16 or 8 bits.
//
// Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention",
// 2023; Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2024 (a ring).
//
// Run: caches   writes no file
//
// expect: 4 hypotheses of 1044 rows: of 66 pages of each 64 are shared
// expect: bfloat16 +1\.0 MiB
// expect: the ring holds .* of 5000 rows

#include <cstdio>
#include <softlook/cache.hpp>
#include <softlook/softlook.hpp>
#include <vector>

using Eigen::Index;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
constexpr Index query_heads = 8, kv_heads = 4, features = 64;
constexpr softlook::kv_cache_shape shape{
    .heads = kv_heads, .key_features = features, .value_features = features};
constexpr double mebi = 1024 * 1024;

/// What a model would make of the next `n` tokens; a hypothesis has a choice of its own.
matrix rows(Index n, Index columns, Index first, int choice) {
  return matrix::NullaryExpr(n, columns, [=](Index i, Index c) {
    return std::sin(0.01f * float((first + i) * (c % 37 + 1)) + float(choice) + 0.3f * float(c));
  });
}

template <class Stored>
void compare(const char* name, const matrix& q, const matrix& K, const matrix& V,
             const matrix& exact) {
  softlook::kv_cache<float, Stored> cache(shape);
  cache.append(K, V);
  const double error = (cache.attend(q) - exact).cwiseAbs().maxCoeff();
  std::printf("  %-9s %5.1f MiB, largest error %.1e\n", name, double(cache.bytes()) / mebi, error);
}

int main() {
  // A prompt of 1024 tokens in two pieces: each row sees what came before it.
  softlook::kv_cache<float> prompt(shape, {.page_rows = 32});
  for (Index first = 0; first < 1024; first += 512) {
    prompt.append(rows(512, kv_heads * features, first, 0),
                  rows(512, kv_heads * features, first, 1));
    (void)prompt.attend(rows(512, query_heads * features, first, 2),
                        softlook::masks::causal_bottom_right{});
  }

  // Four hypotheses go on from it; nothing of the prompt is copied.
  std::vector<softlook::kv_cache<float>> beam(4, prompt.fork());
  for (Index step = 0; step < 20; ++step)
    for (std::size_t h = 0; h < beam.size(); ++h) {
      const int choice = int(h) + 10;
      beam[h].append(rows(1, kv_heads * features, 1024 + step, choice),
                     rows(1, kv_heads * features, 1024 + step, choice + 1));
      (void)beam[h].attend(rows(1, query_heads * features, 1024 + step, choice + 2));
    }
  std::printf("%zu hypotheses of %ld rows: of %ld pages of each %ld are shared\n", beam.size(),
              long(beam[0].size()), long(beam[0].pages()), long(beam[0].shared_pages()));
  std::printf("  %.1f MiB a cache, and no more than %.1f MiB for all\n",
              double(beam[0].bytes()) / mebi,
              (double(prompt.bytes()) + 4 * 2 * 32 * kv_heads * features * 4.0) / mebi);

  // The same rows in fewer bits.
  const matrix K = rows(1024, kv_heads * features, 0, 0), V = rows(1024, kv_heads * features, 0, 1);
  const matrix q = rows(1, query_heads * features, 1024, 2);
  const matrix exact = prompt.attend(q);
  std::puts("1024 rows of keys and values:");
  compare<float>("float", q, K, V, exact);
  compare<Eigen::half>("half", q, K, V, exact);
  compare<Eigen::bfloat16>("bfloat16", q, K, V, exact);
  compare<std::int8_t>("int8", q, K, V, exact);

  // A stream without end in a ring: its window and no more than a page besides.
  softlook::kv_cache<float> ring(shape, {.page_rows = 64, .window = 512});
  for (Index step = 0; step < 5000; ++step)
    ring.append(rows(1, kv_heads * features, step, 0), rows(1, kv_heads * features, step, 1));
  (void)ring.attend(q, softlook::masks::window_of(512));
  std::printf("the ring holds %ld of %ld rows in %.1f MiB\n", long(ring.size() - ring.first()),
              long(ring.size()), double(ring.bytes()) / mebi);
}
