#include "softlook/engine/run/tasks.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cfenv>
#include <thread>
#include <vector>

#include "softlook/exec/sequential.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/executors.hpp"

namespace softlook::detail::tasks_test {
namespace {

/// Deals the tasks to its last workers, as a pool whose first threads are busy does.
struct last_workers {
  index workers;
  index concurrency() const { return workers; }
  template <class F>
  void bulk(index count, const F& f) const {
    for (index task = 0; task < count; ++task) f(task, workers - 1 - task % workers);
  }
};

/// Says that it has three workers and gives every task to one it is told.
struct wrong_worker {
  index worker;
  index concurrency() const { return 3; }
  template <class F>
  void bulk(index count, const F& f) const {
    for (index task = 0; task < count; ++task) f(task, worker);
  }
};

template <class Executor>
index thrown_by(const Executor& executor, index count, const auto& throws) {
  try {
    run_tasks(ref_to(executor), count, [&](index task, index) {
      if (throws(task)) throw task;
    });
  } catch (const index task) {
    return task;
  }
  return -1;
}

TEST(Tasks, TheLowestTasksExceptionIsThrown) {
  const auto throws = [](index task) { return task == 3 || task == 7 || task == 8; };
  const exec::thread_pool pool(4);
  for (int round = 0; round < 50; ++round) EXPECT_EQ(thrown_by(pool, 9, throws), 3);
  EXPECT_EQ(thrown_by(exec::sequential{}, 9, throws), 3);
  EXPECT_EQ(thrown_by(softlook_test::last_task_first{}, 9, throws), 3);
  EXPECT_EQ(thrown_by(softlook_test::thread_per_worker{}, 9, throws), 3);
}

TEST(Tasks, AllTasksRunThoughOneThrows) {
  std::vector<int> runs(20);
  EXPECT_THROW(run_tasks(ref_to(exec::sequential{}), 20,
                         [&](index task, index) {
                           ++runs[static_cast<std::size_t>(task)];
                           if (task == 2) throw 1;
                         }),
               int);
  for (const int count : runs) EXPECT_EQ(count, 1);
}

TEST(Tasks, RunUnderTheRoundingOfTheCaller) {
  const exec::thread_pool pool(3);
  const int before = std::fegetround();
  std::fesetround(FE_DOWNWARD);
  std::vector<int> modes(30);
  run_tasks(ref_to(pool), 30,
            [&](index task, index) { modes[static_cast<std::size_t>(task)] = std::fegetround(); });
  std::fesetround(before);
  for (const int mode : modes) EXPECT_EQ(mode, FE_DOWNWARD);
  run_tasks(ref_to(pool), 30,
            [&](index task, index) { modes[static_cast<std::size_t>(task)] = std::fegetround(); });
  for (const int mode : modes) EXPECT_EQ(mode, before);
}

/// Whether run_tasks() numbers workers below min(concurrency, tasks), and never gives two tasks at
/// a time the same number.
template <class Executor>
void expect_workers_have_scratch(const Executor& executor, index count) {
  const auto workers = static_cast<std::size_t>(std::min(executor.concurrency(), count));
  std::vector<std::atomic<int>> busy(workers), runs(static_cast<std::size_t>(count));
  run_tasks(ref_to(executor), count, [&](index task, index worker) {
    ASSERT_GE(worker, 0);
    ASSERT_LT(static_cast<std::size_t>(worker), workers);
    EXPECT_EQ(busy[static_cast<std::size_t>(worker)].fetch_add(1), 0);
    runs[static_cast<std::size_t>(task)].fetch_add(1);
    std::this_thread::yield();
    busy[static_cast<std::size_t>(worker)].fetch_sub(1);
  });
  for (const auto& ran : runs) EXPECT_EQ(ran.load(), 1);
}

TEST(Tasks, WorkersAreNumberedBelowTheScratchThatThereIs) {
  // More than 64 workers do not fit the numbers kept on the stack.
  for (const index concurrency : {1, 3, 64, 65, 100}) {
    for (const index count : {index{1}, index{2}, index{63}, concurrency, concurrency + 1}) {
      expect_workers_have_scratch(softlook_test::round_robin{concurrency}, count);
      expect_workers_have_scratch(softlook_test::thread_per_worker{concurrency}, count);
      expect_workers_have_scratch(last_workers{concurrency}, count);
    }
  }
  const exec::thread_pool pool(70);
  for (const index count : {1, 2, 69, 70, 300}) expect_workers_have_scratch(pool, count);
}

TEST(Tasks, AWorkerBeyondTheConcurrencyIsAnError) {
  const auto run = [](index worker) {
    run_tasks(ref_to(wrong_worker{worker}), 2, [](index, index) {});
  };
  EXPECT_NO_THROW(run(2));
  softlook_test::expect_error<argument_error>([&] { run(3); }, {"executor", "worker is 3"});
  softlook_test::expect_error<argument_error>([&] { run(-1); }, {"executor", "worker is -1"});
}

TEST(Tasks, NoTasksCallNothing) {
  run_tasks(ref_to(exec::sequential{}), 0, [](index, index) { FAIL(); });
}

}  // namespace
}  // namespace softlook::detail::tasks_test
