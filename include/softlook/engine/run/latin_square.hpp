#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>

#include "softlook/engine/run/tasks.hpp"

// Every pair of a row and a column once, where pairs of one row, and those of one column, must come
// one after the other and in one order, whoever runs them. In round r column j meets row
// (j + r) mod N, N the larger number, as in a Latin square: no two pairs of a round share a row or
// a column. Nobody waits for the end of a round: a pair waits for the one before it in its row, and
// for the one before it in its column.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Some squares of the same size, whose pairs have nothing to do with each other.
struct latin_square {
  index rows;
  index columns;
  index squares = 1;

  [[nodiscard]] constexpr index rounds() const { return std::max(rows, columns); }
  /// Workers that can be busy at a time.
  [[nodiscard]] constexpr index width() const { return std::min(rows, columns) * squares; }
  /// Counters that a run takes.
  using counter = std::atomic<std::int32_t>;
  [[nodiscard]] constexpr index counters() const { return (rows + columns) * squares; }

  /// The row that a column meets in a round; there is none where it is not below `rows`.
  [[nodiscard]] constexpr index row_of(index column, index round) const {
    const index row = column + round;
    return row < rounds() ? row : row - rounds();
  }
  /// How many pairs of its row come before a pair: columns come in falling order, from the row's own
  /// number on.
  [[nodiscard]] constexpr index before_in_row(index row, index column) const {
    if (row >= columns) return columns - 1 - column;
    return column <= row ? row - column : row + columns - column;
  }
  /// How many pairs of its column come before a pair: rows come in rising order.
  [[nodiscard]] constexpr index before_in_column(index row, index column) const {
    if (column >= rows) return row;
    return row >= column ? row - column : row + rows - column;
  }

  /// f(square, row, column, worker), worker < `workers`. Memory for `counters()` counters is given.
  template <class F>
  void run(const executor_ref& exec, index workers, void* memory, const F& f) const {
    counter* const done = static_cast<counter*>(memory);
    for (index k = 0; k < counters(); ++k) ::new (static_cast<void*>(done + k)) counter(0);
    const index each_round = columns * squares, all = rounds() * each_round;
    std::atomic<index> next{0};
    run_tasks(exec, workers, [&](index worker, index) {
      // Pairs are taken in the order of the rounds, so what a pair waits for has been taken by
      // somebody who is at it.
      for (index step; (step = next.fetch_add(1, std::memory_order_relaxed)) < all;) {
        const index round = step / each_round, square = step % each_round / columns;
        const index column = step % columns, row = row_of(column, round);
        if (row >= rows) continue;
        counter* const of_square = done + square * (rows + columns);
        const turn in_row(of_square[row], before_in_row(row, column));
        const turn in_column(of_square[rows + column], before_in_column(row, column));
        f(square, row, column, worker);
      }
    });
  }

 private:
  /// Waits until it is a pair's turn; at the end it is the next one's, whatever has been thrown.
  class turn {
   public:
    turn(counter& done, index mine) : done_(done) {
      for (std::int32_t now; (now = done.load(std::memory_order_acquire)) != std::int32_t(mine);)
        done.wait(now, std::memory_order_relaxed);
    }
    turn(const turn&) = delete;
    turn& operator=(const turn&) = delete;
    ~turn() {
      done_.fetch_add(1, std::memory_order_release);
      done_.notify_all();
    }

   private:
    counter& done_;
  };
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
