// A cache may be read by several threads, and forks that share pages may be used in a thread each.
#include "tests/support/kernels.hpp"
//
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "softlook/cache.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/random.hpp"

namespace softlook::threads_test {
namespace {

using namespace softlook_test;
using matrix = row_major<float>;

constexpr int threads = 4;
constexpr kv_cache_shape shape{.heads = 2, .key_features = 8, .value_features = 8};

matrix rows(index count, std::uint64_t number) {
  generator random = seed(number);
  return random_matrix<matrix>(count, 16, random);
}

template <class F>
void in_threads(const F& f) {
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) all.emplace_back([&f, t] { f(t); });
  for (std::thread& one : all) one.join();
}

/// What a hypothesis does: rows of its own behind those of the prefix, then a query.
matrix grow(kv_cache<float>& cache, int number) {
  matrix last;
  for (index step = 0; step < 5; ++step) {
    const auto own = std::uint64_t(100 * number + step);
    cache.append(rows(3, own), rows(3, own + 50));
    last = cache.attend(rows(2, own + 7));
  }
  cache.truncate(cache.size() - 4);
  return last;
}

TEST(CacheThreads, ForksThatSharePagesGrowInAThreadEach) {
  kv_cache<float> prefix(shape, {.page_rows = 4, .window = {}});
  prefix.append(rows(10, 1), rows(10, 2));
  std::vector<matrix> alone, together(threads);
  for (int t = 0; t < threads; ++t) {
    auto fork = prefix.fork();
    alone.push_back(grow(fork, t));
  }
  for (int round = 0; round < 20; ++round) {
    std::vector<kv_cache<float>> forks(threads, prefix);
    in_threads([&](int t) { together[std::size_t(t)] = grow(forks[std::size_t(t)], t); });
    for (std::size_t t = 0; t < threads; ++t) EXPECT_TRUE(bitwise_equal(together[t], alone[t]));
  }
  EXPECT_EQ(prefix.shared_pages(), 0);
}

TEST(CacheThreads, ForksAreMadeAndDroppedWhereTheyAreUsed) {
  kv_cache<float> prefix(shape, {.page_rows = 4, .window = {}});
  prefix.append(rows(10, 1), rows(10, 2));
  auto first = prefix.fork();
  const matrix expected = grow(first, 3);
  std::vector<matrix> got(threads);
  in_threads([&](int t) {
    for (int round = 0; round < 20; ++round) {
      auto fork = prefix.fork();
      got[std::size_t(t)] = grow(fork, 3);
    }
  });
  for (const matrix& one : got) EXPECT_TRUE(bitwise_equal(one, expected));
}

TEST(CacheThreads, OneIsReadBySeveralOnOnePool) {
  const exec::thread_pool pool(3);
  kv_cache<float> cache(shape, {.page_rows = 8, .window = {}});
  cache.append(rows(300, 3), rows(300, 4));
  const matrix Q = rows(5, 5), expected = cache.attend(Q);
  std::vector<matrix> got(threads);
  in_threads([&](int t) {
    for (int round = 0; round < 10; ++round) got[std::size_t(t)] = cache.attend(Q, pool);
  });
  for (const matrix& one : got) EXPECT_TRUE(bitwise_equal(one, expected));
}

}  // namespace
}  // namespace softlook::threads_test
