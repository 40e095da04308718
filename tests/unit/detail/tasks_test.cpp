#include "softlook/detail/tasks.hpp"

#include <gtest/gtest.h>

#include <cfenv>
#include <vector>

#include "softlook/exec/sequential.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "tests/support/executors.hpp"

namespace softlook::detail {
namespace {

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

TEST(Tasks, NoTasksCallNothing) {
  run_tasks(ref_to(exec::sequential{}), 0, [](index, index) { FAIL(); });
}

}  // namespace
}  // namespace softlook::detail
