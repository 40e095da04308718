#include "softlook/exec/sequential.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace softlook::sequential_test {
namespace {

TEST(Sequential, RunsEveryTaskInOrderOnWorkerZero) {
  std::vector<index> seen;
  exec::sequential{}.bulk(5, [&](index task, index worker) {
    EXPECT_EQ(worker, 0);
    seen.push_back(task);
  });
  EXPECT_EQ(seen, (std::vector<index>{0, 1, 2, 3, 4}));
}

TEST(Sequential, HasOneWorker) { EXPECT_EQ(exec::sequential{}.concurrency(), 1); }

TEST(Sequential, RunsNothingForNoTasks) {
  exec::sequential{}.bulk(0, [](index, index) { FAIL(); });
}

}  // namespace
}  // namespace softlook::sequential_test
