#include "support/row.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <limits>
#include <memory>
#include <regex>
#include <sstream>

#include "support/allocations.hpp"

namespace bench {
namespace {

using clock = std::chrono::steady_clock;

constexpr double least_seconds = 0.1;    // of a repetition
constexpr double clock_seconds = 20e-6;  // reading the clock is nothing beside it
const char* const least_repetitions = "5";

double seconds_of(const std::function<void()>& f, std::int64_t calls) {
  const auto start = clock::now();
  for (std::int64_t k = 0; k < calls; ++k) f();
  return std::chrono::duration<double>(clock::now() - start).count();
}

// How many calls are timed at once: one, unless it is so short that the clock would count.
struct batch {
  std::int64_t calls = 1;
  double seconds = 0;
};

batch batch_of(const std::function<void()>& f) {
  constexpr std::int64_t most = 4096;
  batch b{.calls = 1, .seconds = seconds_of(f, 1)};
  while (b.calls < most) {
    b.seconds = seconds_of(f, b.calls);
    for (int again = 0; again < 2 && b.seconds < 10 * clock_seconds; ++again)
      b.seconds = std::min(b.seconds, seconds_of(f, b.calls));
    if (b.seconds >= clock_seconds) break;
    b.calls *= 2;
  }
  return b;
}

// Inputs, result and verdict of the row in work; Google Benchmark comes back to it for every
// repetition. The inputs of the row before go when the next one comes.
struct checked_row {
  prepared_row work;
  double error = 0;
  double scratch_bytes = 0;
  batch timed_together;
  std::string complaint;  // empty: the result is right
};

checked_row check(const row& r) {
  checked_row checked;
  checked.work = r.prepare();
  prepared_row& work = checked.work;
  {
    const allocation_peak peak;
    work.first_call ? work.first_call() : work.call();
    checked.scratch_bytes = double(peak.bytes());
  }
  if (work.first_call) work.call();
  checked.error = work.error();
  const double difference = work.difference ? work.difference() : 0;
  std::ostringstream complaint;
  if (!(checked.error <= work.tolerance))
    complaint << "error " << checked.error << " against the oracle, more than " << work.tolerance;
  else if (!(difference <= 2 * work.tolerance))
    complaint << "differs from naive by " << difference << ", more than " << 2 * work.tolerance;
  else if (!(checked.scratch_bytes <= work.most_scratch_bytes))
    complaint << "scratch of " << checked.scratch_bytes << " bytes, more than "
              << work.most_scratch_bytes;
  checked.complaint = complaint.str();
  if (checked.complaint.empty()) checked.timed_together = batch_of(work.call);
  return checked;
}

// Names and reasons; the reporters' own field for this was renamed between Google Benchmark 1.7
// and 1.8.
std::map<std::string, std::string>& failures() {
  static std::map<std::string, std::string> all;
  return all;
}

checked_row& checked_once(const row& r) {
  static std::unique_ptr<checked_row> current;
  static const row* current_row = nullptr;
  if (current_row != &r) {
    current.reset();
    current_row = &r;
    try {
      current = std::make_unique<checked_row>(check(r));
    } catch (const std::exception& e) {
      current = std::make_unique<checked_row>();
      current->complaint = e.what();
    }
  }
  return *current;
}

// The best of some calls within a tenth of a second; of short ones less is enough.
double fastest_seconds(const std::function<void()>& call) {
  const batch together = batch_of(call);
  const double budget = together.calls > 1 ? 0.3 * least_seconds : least_seconds;
  double best = together.seconds;
  for (double spent = best; spent < budget;) {
    const double now = seconds_of(call, together.calls);
    best = std::min(best, now);
    spent += now;
  }
  return best / double(together.calls);
}

// What is measured before and after a row, because it drifts.
struct surroundings {
  double peak = 0;
  double bandwidth = 0;
  double front_end = 1;
  std::vector<double> others{};

  static surroundings measure(const row& r, const prepared_row& work) {
    surroundings now{peak_flops(r.scalar, r.threads, r.register_bytes),
                     work.reads.empty() ? 0 : read_bandwidth(work.reads), front_end_share()};
    for (const comparison& other : work.others) now.others.push_back(fastest_seconds(other.call));
    return now;
  }
  friend surroundings middle(const surroundings& a, const surroundings& b) {
    surroundings both{(a.peak + b.peak) / 2, (a.bandwidth + b.bandwidth) / 2,
                      std::min(a.front_end, b.front_end)};
    for (std::size_t k = 0; k < a.others.size(); ++k)
      both.others.push_back(std::min(a.others[k], b.others[k]));
    return both;
  }
};

double bytes_per_call(const prepared_row& work) {
  double bytes = 0;
  for (const region& r : work.reads) bytes += double(r.bytes);
  return bytes / work.calls_per_read;
}

void time_row(benchmark::State& state, const row& r) {
  const checked_row& checked = checked_once(r);
  if (!checked.complaint.empty()) {
    failures()[r.name] = checked.complaint;
    state.SkipWithError(checked.complaint.c_str());
    return;
  }
  const prepared_row& work = checked.work;
  const batch& together = checked.timed_together;
  // Google Benchmark tries how many iterations make a repetition: nothing is reported of a trial.
  const double expected = double(state.max_iterations) * together.seconds / double(together.calls);
  const bool trial = expected < least_seconds / 2;
  const surroundings before = trial ? surroundings{} : surroundings::measure(r, work);
  double fastest = std::numeric_limits<double>::infinity(), spent = 0;
  while (state.KeepRunningBatch(together.calls)) {
    const double now = seconds_of(work.call, together.calls);
    fastest = std::min(fastest, now / double(together.calls));
    spent += now;
    benchmark::ClobberMemory();
  }
  if (trial && spent < least_seconds / 2) return;
  const surroundings after = surroundings::measure(r, work);
  const surroundings around = trial ? after : middle(before, after);

  const auto per_second = [](double amount) {
    return benchmark::Counter(amount, benchmark::Counter::kIsIterationInvariantRate);
  };
  state.counters["flops_per_second"] = per_second(r.flops);
  state.counters["fraction_of_peak"] = per_second(r.flops / around.peak);
  state.counters["peak_flops_per_second"] = around.peak;
  state.counters["front_end"] = around.front_end;
  // On a busy machine the mean of a repetition says little, its fastest call still much.
  state.counters["fastest_seconds"] = fastest;
  state.counters["fastest_fraction_of_peak"] = r.flops / fastest / around.peak;
  state.counters["scratch_bytes"] = checked.scratch_bytes;
  state.counters["max_error"] = checked.error;
  if (!work.reads.empty()) {
    state.counters["bytes_per_second"] = per_second(bytes_per_call(work));
    state.counters["fraction_of_bandwidth"] = per_second(bytes_per_call(work) / around.bandwidth);
    state.counters["bandwidth_bytes_per_second"] = around.bandwidth;
  }
  // Fastest against fastest: a busy machine disturbs both, but seldom in all their calls.
  for (std::size_t k = 0; k < work.others.size(); ++k) {
    const comparison& other = work.others[k];
    const double relative = fastest / around.others[k];
    state.counters[other.counter] = other.speedup ? 1 / relative : relative;
    if (other.share < 1) state.counters[other.counter + "_of_share"] = relative / other.share;
  }
  for (const auto& [name, amount] : r.rates) state.counters[name] = per_second(amount);
}

// Google Benchmark appends /min_time:…/real_time to a name; ours are exact.
using run = benchmark::BenchmarkReporter::Run;

std::vector<run> with_exact_names(std::vector<run> runs) {
  for (run& each : runs) {
    const std::string name = each.run_name.function_name;
    each.run_name = {};
    each.run_name.function_name = name;
  }
  return runs;
}

class file_reporter : public benchmark::JSONReporter {
 public:
  void ReportRuns(const std::vector<run>& runs) override {
    JSONReporter::ReportRuns(with_exact_names(runs));
  }
};

// One line for a row, as soon as it is measured.
class progress_reporter : public benchmark::BenchmarkReporter {
 public:
  explicit progress_reporter(std::size_t rows) : rows_(rows) {}

  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<run>& runs) override {
    if (runs.empty()) return;
    const run& first = runs.front();
    // The repetitions come first and their median in a second call; a failed row has no second one.
    const std::string& name = first.run_name.function_name;
    const auto failure = failures().find(name);
    const bool repetitions = first.run_type == run::RT_Iteration && first.repetitions > 1;
    if (repetitions && failure == failures().end()) return;
    std::printf("[%3zu/%zu] %-76s", ++done_, rows_, name.c_str());
    if (failure != failures().end()) {
      std::printf(" FAILED: %s\n", failure->second.c_str());
      std::fflush(stdout);
      return;
    }
    const auto median = std::find_if(
        runs.begin(), runs.end(), [](const run& each) { return each.aggregate_name == "median"; });
    print(median != runs.end() ? *median : runs.front());
    std::fflush(stdout);
  }

 private:
  static void print(const run& result) {
    const auto value = [&](const char* name) {
      const auto found = result.counters.find(name);
      return found == result.counters.end() ? std::nan("") : double(found->second);
    };
    std::printf(" %11.3f ms %8.1f GFLOP/s  %.3f P", result.GetAdjustedRealTime(),
                value("flops_per_second") / 1e9, value("fraction_of_peak"));
    if (!std::isnan(value("fraction_of_bandwidth")))
      std::printf("  %.3f B", value("fraction_of_bandwidth"));
    for (const char* other : {"relative_time", "relative_time_of_share", "relative_to_eigen"})
      if (!std::isnan(value(other))) std::printf("  %.3f %s", value(other), other);
    std::printf("  err %.1e\n", value("max_error"));
  }

  std::size_t rows_;
  std::size_t done_ = 0;
};

// The flag's value, which is taken out of the arguments: matching is on our exact names.
std::string take_filter(std::vector<char*>& arguments) {
  const std::string flag = "--benchmark_filter=";
  std::string filter;
  std::erase_if(arguments, [&](const char* argument) {
    const std::string text = argument;
    if (text.rfind(flag, 0) != 0) return false;
    filter = text.substr(flag.size());
    return true;
  });
  return filter;
}

bool has_flag(const std::vector<char*>& arguments, const std::string& start) {
  return std::any_of(arguments.begin(), arguments.end(), [&](const char* argument) {
    return std::string(argument).rfind(start, 0) == 0;
  });
}

void keep_matching(std::vector<row>& rows, const std::string& filter) {
  const std::regex wanted(filter);
  std::erase_if(rows, [&](const row& r) { return !std::regex_search(r.name, wanted); });
}

void register_rows(const std::vector<row>& rows) {
  for (const row& r : rows)
    benchmark::RegisterBenchmark(r.name.c_str(),
                                 [&r](benchmark::State& state) { time_row(state, r); })
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond)
        ->MinTime(least_seconds);
}

void describe_build() {
#ifdef __clang__
  benchmark::AddCustomContext("compiler", __VERSION__);
#else
  benchmark::AddCustomContext("compiler", "gcc " __VERSION__);
#endif
  benchmark::AddCustomContext("peak_instruction_set", peak_instruction_set());
#ifdef SOFTLOOK_BENCH_FLAGS
  benchmark::AddCustomContext("flags", SOFTLOOK_BENCH_FLAGS);
#endif
}

}  // namespace

int run_rows(int argc, char** argv, std::vector<row> rows) {
  std::vector<char*> arguments(argv, argv + argc);
  try {
    keep_matching(rows, take_filter(arguments));
  } catch (const std::regex_error& e) {
    std::cerr << "--benchmark_filter: " << e.what() << '\n';
    return 2;
  }
  if (has_flag(arguments, "--benchmark_list_tests")) {
    for (const row& r : rows) std::cout << r.name << '\n';
    return 0;
  }
  if (rows.empty()) return 0;

  std::string repetitions = std::string("--benchmark_repetitions=") + least_repetitions;
  if (!has_flag(arguments, "--benchmark_repetitions")) arguments.push_back(repetitions.data());
  const bool to_file = has_flag(arguments, "--benchmark_out=");
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;

  describe_build();
  register_rows(rows);
  progress_reporter progress(rows.size());
  file_reporter file;
  benchmark::RunSpecifiedBenchmarks(&progress, to_file ? &file : nullptr);
  return failures().empty() ? 0 : 1;
}

}  // namespace bench
