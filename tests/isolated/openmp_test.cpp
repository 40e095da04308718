// A program of its own, because it is compiled with -fopenmp.
#include "softlook/exec/openmp.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "softlook/attention.hpp"
#include "softlook/layer/multi_head.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/random.hpp"

namespace softlook {
namespace {

using namespace softlook_test;

TEST(OpenMP, RunsEveryTaskOnceByAWorkerBelowItsConcurrency) {
  for (const index threads : {1, 2, 5}) {
    const exec::openmp team(threads);
    EXPECT_EQ(team.concurrency(), threads);
    for (const index tasks : {0, 1, 3, 100}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
      std::atomic<bool> in_range{true};
      team.bulk(tasks, [&](index task, index worker) {
        runs[static_cast<std::size_t>(task)].fetch_add(1);
        if (worker < 0 || worker >= threads) in_range = false;
      });
      EXPECT_TRUE(in_range);
      for (const auto& count : runs) EXPECT_EQ(count, 1);
    }
  }
}

TEST(OpenMP, IsAnExecutor) { static_assert(executor<exec::openmp>); }

TEST(OpenMP, RejectsFewerThanOneThread) {
  expect_error<argument_error>([] { exec::openmp team(0); }, {"exec::openmp", "threads is 0"});
  expect_error<argument_error>([] { exec::openmp team(-1); }, {"threads is -1"});
  expect_error<argument_error>([] { exec::openmp team(1 << 20); }, {"threads is 1048576"});
}

TEST(OpenMP, ChangesNoBit) {
  const auto p =
      random_problem<float>({.queries = 301, .keys = 257, .features = 24, .values = 16}, seed(77));
  const exec::openmp team(3);
  EXPECT_TRUE(bitwise_equal(attention(p.Q, p.K, p.V, team), attention(p.Q, p.K, p.V)));
  const heads four{.query = 4};
  EXPECT_TRUE(bitwise_equal(attention(p.Q, p.K, p.V, four, team, masks::causal_bottom_right{}),
                            attention(p.Q, p.K, p.V, four, masks::causal_bottom_right{})));
}

TEST(OpenMP, RethrowsWhatAUsersFunctionThrows) {
  const auto p =
      random_problem<double>({.queries = 200, .keys = 50, .features = 4, .values = 4}, seed(78));
  const auto throwing = transforms::map([](auto s, std::int32_t i, std::int32_t) {
    if (i == 150) throw std::runtime_error("query 150");
    return s;
  });
  EXPECT_THROW(static_cast<void>(attention(p.Q, p.K, p.V, throwing, exec::openmp(3))),
               std::runtime_error);
}

TEST(OpenMP, MayBeUsedFromSeveralThreadsAndInsideItsOwnTasks) {
  const auto p =
      random_problem<float>({.queries = 120, .keys = 60, .features = 8, .values = 8}, seed(79));
  const auto expected = attention(p.Q, p.K, p.V);
  const exec::openmp team(2);
  std::atomic<int> wrong{0};
  const auto check = [&] {
    if (!bitwise_equal(attention(p.Q, p.K, p.V, team), expected)) ++wrong;
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] { team.bulk(4, [&](index, index) { check(); }); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace softlook
