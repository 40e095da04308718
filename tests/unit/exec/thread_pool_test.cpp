#include "softlook/exec/thread_pool.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/support/errors.hpp"

namespace softlook::thread_pool_test {
namespace {

/// Counts how often each task ran, and whether a worker ever had two tasks at a time.
class task_log {
 public:
  task_log(index tasks, index workers)
      : runs_(static_cast<std::size_t>(tasks)), busy_(static_cast<std::size_t>(workers)) {}

  void operator()(index task, index worker) {
    ASSERT_GE(worker, 0);
    ASSERT_LT(worker, static_cast<index>(busy_.size()));
    std::atomic<int>& busy = busy_[static_cast<std::size_t>(worker)];
    EXPECT_EQ(busy.fetch_add(1), 0) << "worker " << worker << " has two tasks";
    runs_[static_cast<std::size_t>(task)].fetch_add(1);
    std::this_thread::yield();
    busy.fetch_sub(1);
  }

  void expect_every_task_ran_once() const {
    for (std::size_t task = 0; task < runs_.size(); ++task) EXPECT_EQ(runs_[task], 1) << task;
  }

 private:
  std::vector<std::atomic<int>> runs_;
  std::vector<std::atomic<int>> busy_;
};

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (const index threads : {1, 2, 3, 8}) {
    const exec::thread_pool pool(threads);
    for (const index tasks : {0, 1, 2, 7, 100}) {
      task_log log(tasks, pool.concurrency());
      pool.bulk(tasks, [&](index task, index worker) { log(task, worker); });
      log.expect_every_task_ran_once();
    }
  }
}

TEST(ThreadPool, CountsTheCallingThread) {
  EXPECT_EQ(exec::thread_pool(1).concurrency(), 1);
  EXPECT_EQ(exec::thread_pool(5).concurrency(), 5);
}

TEST(ThreadPool, RejectsFewerThanOneThread) {
  softlook_test::expect_error<argument_error>([] { exec::thread_pool pool(0); }, {"threads is 0"});
  softlook_test::expect_error<argument_error>([] { exec::thread_pool pool(-2); },
                                              {"threads is -2"});
}

TEST(ThreadPool, UsesOtherThreads) {
  const exec::thread_pool pool(2);
  std::atomic<int> arrived{0};
  // Both tasks wait for each other, so one thread alone would never finish.
  pool.bulk(2, [&](index, index) {
    arrived.fetch_add(1);
    while (arrived.load() < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived.load(), 2);
}

TEST(ThreadPool, MayBeCalledFromInsideATask) {
  const exec::thread_pool pool(3);
  std::atomic<int> inner{0};
  pool.bulk(6, [&](index, index) {
    pool.bulk(5, [&](index, index worker) {
      EXPECT_LT(worker, pool.concurrency());
      pool.bulk(2, [&](index, index) { inner.fetch_add(1); });
    });
  });
  EXPECT_EQ(inner.load(), 6 * 5 * 2);
}

TEST(ThreadPool, MayBeCalledFromSeveralThreadsAtOnce) {
  const exec::thread_pool pool(3);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        task_log log(9, pool.concurrency());
        pool.bulk(9, [&](index task, index worker) { log(task, worker); });
        log.expect_every_task_ran_once();
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST(ThreadPool, FinishesCallsInAnyOrder) {
  // Calls of other lengths leave the list of calls from its front, its middle and its end.
  const exec::thread_pool pool(4);
  std::atomic<int> runs{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 6; ++caller) {
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 100; ++round) {
        const index tasks = 2 + (7 * caller + round) % 23;
        pool.bulk(tasks, [&](index task, index) {
          if ((task + caller) % 5 == 0) std::this_thread::yield();
          runs.fetch_add(1);
        });
        runs.fetch_sub(static_cast<int>(tasks));
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(runs.load(), 0);
}

TEST(ThreadPool, MayBeCalledFromInsideTasksOfSeveralThreads) {
  const exec::thread_pool pool(3);
  std::atomic<int> inner{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 20; ++round)
        pool.bulk(5, [&](index, index) {
          pool.bulk(4,
                    [&](index, index) { pool.bulk(3, [&](index, index) { inner.fetch_add(1); }); });
        });
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(inner.load(), 4 * 20 * 5 * 4 * 3);
}

TEST(ThreadPool, RunsEveryTaskOnceWithMoreThreadsThanTasksAndFewer) {
  const exec::thread_pool pool(70);
  for (const index tasks : {2, 69, 70, 71, 500}) {
    task_log log(tasks, pool.concurrency());
    pool.bulk(tasks, [&](index task, index worker) { log(task, worker); });
    log.expect_every_task_ran_once();
  }
}

TEST(ThreadPool, LetsGoOfACallBeforeItReturns) {
  // Each function lives on the stack of its call only; a helper that came late would use a dead
  // one, which the sanitizers see.
  const exec::thread_pool pool(4);
  for (int round = 0; round < 2000; ++round) {
    std::vector<int> runs(3);
    pool.bulk(3, [&runs](index task, index) { ++runs[static_cast<std::size_t>(task)]; });
    ASSERT_EQ(runs, (std::vector<int>{1, 1, 1}));
  }
}

TEST(ThreadPool, EndsWithoutEverWorking) {
  for (int round = 0; round < 20; ++round) exec::thread_pool pool(4);
}

}  // namespace
}  // namespace softlook::thread_pool_test
