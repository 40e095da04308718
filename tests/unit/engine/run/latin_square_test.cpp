#include "softlook/engine/run/latin_square.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "softlook/exec/sequential.hpp"
#include "softlook/exec/thread_pool.hpp"
#include "tests/support/executors.hpp"

namespace softlook::detail::latin_square_test {
namespace {

struct pair_of {
  index row, column;
  bool operator==(const pair_of&) const = default;
};

/// What one run met: for each row its columns, for each column its rows, in their order.
struct meetings {
  std::vector<std::vector<index>> of_row, of_column;
  bool operator==(const meetings&) const = default;
};

/// Rows and columns that two pairs have at a time are a race, which the thread sanitizer sees too.
template <class E>
meetings met(const latin_square& square, const E& executor, bool& alone) {
  meetings all;
  all.of_row.resize(std::size_t(square.rows * square.squares));
  all.of_column.resize(std::size_t(square.columns * square.squares));
  std::vector<std::atomic<int>> busy(std::size_t(square.counters()));
  std::vector<latin_square::counter> counters(std::size_t(square.counters()));
  const executor_ref exec = ref_to(executor);
  std::atomic<bool> shared{false};
  square.run(exec, std::min(exec.concurrency, square.width()), counters.data(),
             [&](index s, index row, index column, index) {
               const auto r = std::size_t(s * square.rows + row);
               const auto c = std::size_t(s * square.columns + column);
               const auto rows = std::size_t(square.rows * square.squares);
               if (busy[r]++ > 0 || busy[rows + c]++ > 0) shared = true;
               all.of_row[r].push_back(column);
               all.of_column[c].push_back(row);
               --busy[r];
               --busy[rows + c];
             });
  alone = !shared;
  return all;
}

TEST(LatinSquare, MeetsEveryPairOnceInOneOrderOnAnyExecutor) {
  for (const index rows : {1, 2, 3, 7, 12})
    for (const index columns : {1, 2, 5, 7, 11})
      for (const index squares : {1, 3}) {
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
        const latin_square square{rows, columns, squares};
        bool alone = false;
        const meetings expected = met(square, exec::sequential{}, alone);
        std::size_t pairs = 0;
        for (const auto& row : expected.of_row) {
          std::vector<bool> seen(std::size_t(columns), false);
          for (const index column : row) {
            EXPECT_FALSE(seen[std::size_t(column)]);
            seen[std::size_t(column)] = true;
          }
          pairs += row.size();
        }
        EXPECT_EQ(index(pairs), rows * columns * squares);
        const auto same = [&](const auto& executor) {
          EXPECT_TRUE(met(square, executor, alone) == expected);
          EXPECT_TRUE(alone);
        };
        same(softlook_test::last_task_first{});
        same(softlook_test::round_robin{4});
        same(softlook_test::thread_per_worker{3});
        const exec::thread_pool two(2), seven(7);
        same(two);
        same(seven);
      }
}

TEST(LatinSquare, IsNeverStuckByAnException) {
  const latin_square square{5, 4, 2};
  std::vector<latin_square::counter> counters(std::size_t(square.counters()));
  const exec::thread_pool pool(3);
  for (const index bad : {0, 2, 4})
    EXPECT_THROW(square.run(ref_to(pool), 3, counters.data(),
                            [&](index, index row, index, index) {
                              if (row == bad) throw std::runtime_error("row");
                            }),
                 std::runtime_error);
}

}  // namespace
}  // namespace softlook::detail::latin_square_test
