#pragma once

#include <cstddef>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "support/bandwidth.hpp"
#include "support/peak.hpp"

namespace bench {

/// A call that a row is compared with, timed before and after it, fastest against fastest.
struct comparison {
  std::function<void()> call;
  std::string counter = "relative_time";
  /// The counter is how many times faster the row is; else the row's time over that of `call`.
  bool speedup = false;
  /// The share of the work of `call` that the row has to do; below 1, the counter over it is
  /// reported as `<counter>_of_share`.
  double share = 1;
};

/// A row that is ready to be timed: its inputs exist, its result has not been computed yet.
struct prepared_row {
  std::function<void()> call;
  /// The largest difference between the result of `call` and the truth; NaN if it is not finite.
  std::function<double()> error;
  double tolerance = 0;
  /// The largest difference from another path's whole result; at most twice `tolerance`.
  std::function<double()> difference{};
  /// Heap bytes of one call that keeps nothing from earlier calls; measured on `call` if empty.
  std::function<void()> first_call{};
  /// What a memory-bound call reads; then B is measured on it, and fraction_of_bandwidth is shown.
  std::vector<region> reads{};
  /// How many calls read `reads` once.
  double calls_per_read = 1;
  std::vector<comparison> others{};
  /// A row whose first call holds more heap bytes at a time fails.
  double most_scratch_bytes = std::numeric_limits<double>::infinity();
};

/// A row of a table: a name, useful work, and how to prepare it.
struct row {
  std::string name;
  double flops = 0;
  precision scalar = precision::single_precision;
  int threads = 1;
  /// Of the registers that P is measured with; 0: the widest there are.
  int register_bytes = 0;
  /// Divided by the time and reported under their names.
  std::map<std::string, double> rates{};
  std::function<prepared_row()> prepare;
};

/// main() of every benchmark program: checks, times and reports the rows whose names match
/// --benchmark_filter. Returns the exit status: 1 if a row failed.
int run_rows(int argc, char** argv, std::vector<row> rows);

}  // namespace bench
