// bench_report [--json MERGED] [--speed SVG] [--memory SVG] FILE...
// Reads what the benchmark programs wrote (Google Benchmark's JSON), prints one table, and writes
// one JSON document of all and two drawings. Exit status 1 if a row failed.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <set>
#include <stdexcept>

#include "report/chart.hpp"
#include "report/results.hpp"
#include "support/peak.hpp"

namespace {

using report::result;

template <class... Args>
std::string text_of(const char* format, Args... args) {
  char buffer[256];
  std::snprintf(buffer, sizeof buffer, format, args...);
  return buffer;
}

std::string time_text(double seconds) {
  if (seconds < 1e-3) return text_of("%.3g us", seconds * 1e6);
  if (seconds < 1) return text_of("%.4g ms", seconds * 1e3);
  return text_of("%.4g s ", seconds);
}

std::string bytes_text(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 3; ++unit) bytes /= 1024;
  const bool whole = bytes >= 10 || bytes == std::floor(bytes);
  return text_of(whole ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

std::string number_or_dash(const char* format, double value) {
  return std::isnan(value) ? "-" : text_of(format, value);
}

// The naive row of the same problem, if it was measured.
const result* naive_twin(const result& r, const std::vector<result>& all) {
  const auto twin = std::find_if(all.begin(), all.end(), [&](const result& other) {
    return other.path == "naive" && other.group == r.group && other.sizes == r.sizes &&
           other.failure.empty();
  });
  return twin == all.end() || &*twin == &r ? nullptr : &*twin;
}

// What only some rows have.
std::string remark_on(const result& r) {
  std::string text;
  if (r.has("bytes_per_second"))
    text += text_of("  %.1f GB/s", r.counter("bytes_per_second") / 1e9);
  if (r.has("pairs_per_second"))
    text += text_of("  %.1f Mpairs/s", r.counter("pairs_per_second") / 1e6);
  if (r.has("speedup")) text += text_of("  %.2f x one thread", r.counter("speedup"));
  if (r.has("relative_time")) text += text_of("  %.3f x its reference", r.counter("relative_time"));
  if (r.has("relative_time_of_share"))
    text += text_of("  %.3f x its share", r.counter("relative_time_of_share"));
  if (r.has("relative_to_eigen")) text += text_of("  %.3f x Eigen", r.counter("relative_to_eigen"));
  return text;
}

void print_row(const result& r, const std::vector<result>& all) {
  std::printf("%6ld %6ld  %-18s", r.size("n"), r.size("m"), r.path.c_str());
  if (!r.failure.empty()) {
    std::printf(" FAILED: %s\n", r.failure.c_str());
    return;
  }
  const result* const naive = naive_twin(r, all);
  const double gain = naive != nullptr ? naive->seconds / r.seconds : std::nan("");
  std::printf(" %10s %6s %8.1f %6.3f %6.3f %6s %9s %8.1e %8s%s\n", time_text(r.seconds).c_str(),
              text_of("%.0f%%", 100 * r.spread).c_str(), r.counter("flops_per_second") / 1e9,
              r.counter("fraction_of_peak"), r.counter("fastest_fraction_of_peak"),
              number_or_dash("%.3f", r.counter("fraction_of_bandwidth")).c_str(),
              bytes_text(r.counter("scratch_bytes")).c_str(), r.counter("max_error"),
              number_or_dash("%.1f", gain).c_str(), remark_on(r).c_str());
}

void print_table(const std::vector<result>& results) {
  std::vector<std::string> groups;
  for (const result& r : results)
    if (std::find(groups.begin(), groups.end(), r.group) == groups.end()) groups.push_back(r.group);
  for (const std::string& group : groups) {
    std::printf("\n%s\n", group.c_str());
    std::printf("%6s %6s  %-18s %10s %6s %8s %6s %6s %6s %9s %8s %8s\n", "n", "m", "", "time",
                "spread", "GFLOP/s", "of P", "best", "of B", "scratch", "max err", "x naive");
    for (const result& r : results)
      if (r.group == group) print_row(r, results);
  }
}

// Rows that are compared with the P of their own instruction set end in its name.
std::string set_of(const result& r) {
  return r.suffix == "avx2" || r.suffix == "baseline" ? ", " + r.suffix : "";
}

void print_peaks(const std::vector<result>& results) {
  std::map<std::string, std::vector<double>> peaks;
  for (const result& r : results)
    if (r.failure.empty())
      peaks[text_of("%s, %ld thread%s%s", r.suffix == "double" ? "double" : "single",
                    std::max(1L, r.size("threads")), r.size("threads") > 1 ? "s" : "",
                    set_of(r).c_str())]
          .push_back(r.counter("peak_flops_per_second") / 1e9);
  for (auto& [what, values] : peaks) {
    std::sort(values.begin(), values.end());
    std::printf("P, %s: %.0f to %.0f GFLOP/s, median %.0f\n", what.c_str(), values.front(),
                values.back(), values[values.size() / 2]);
  }
}

// A table of a busy machine should say so itself.
void print_load(const std::vector<result>& results) {
  std::vector<double> shares;
  for (const result& r : results)
    if (r.failure.empty() && r.size("threads") <= 1) shares.push_back(r.core_share);
  if (shares.empty()) return;
  std::sort(shares.begin(), shares.end());
  const double median = shares[shares.size() / 2];
  if (median < 0.97)
    std::printf("BUSY MACHINE: half of the rows had at most %.0f %% of a core; do not quote them\n",
                100 * median);
}

// The least of before and after each row: a contended time is no figure of the kernel.
void print_neighbours(const std::vector<result>& results) {
  std::vector<double> shares;
  long shared = 0;
  for (const result& r : results)
    if (r.failure.empty() && r.has("front_end")) {
      shares.push_back(r.counter("front_end"));
      shared += shares.back() < bench::shared_front_end;
    }
  if (shared == 0) return;
  std::sort(shares.begin(), shares.end());
  std::printf(
      "SHARED CORE: beside %ld of %zu rows another thread took a part of the front end (a taken "
      "branch in %.2f of the cycles, median; 1 alone): their times are not the kernel's\n",
      shared, shares.size(), shares[shares.size() / 2]);
}

void print_context(const nlohmann::json& document) {
  const auto& context = document.at("context");
  for (const char* key : {"date", "commit", "compiler", "flags", "cpu", "peak_instruction_set"})
    if (context.contains(key))
      std::printf("%s: %s\n", key, context.at(key).get<std::string>().c_str());
}

// The rows that the drawings show: dot scores, one head, one thread, n = m, naive or flash.
bool drawn(const result& r, const std::string& mask, const std::string& path, long d) {
  return r.failure.empty() && r.name.rfind("forward/" + path + "/dot/" + mask + "/", 0) == 0 &&
         r.suffix.empty() && r.size("d") == d && r.size("heads") == 1 && r.size("threads") == 1 &&
         r.size("n") == r.size("m");
}

report::series series_of(const std::vector<result>& results, const std::string& mask,
                         const std::string& path, long d, const std::string& counter) {
  // Okabe and Ito's vermilion and blue; d is told by dash and marker, for print in grey.
  report::series line{
      .label = path + ", d = " + std::to_string(d),
      .colour = path == "naive" ? "#D55E00" : "#0072B2",
      .dashed = d != 64,
      .mark = d == 64 ? report::series::marker::circle : report::series::marker::square};
  for (const result& r : results)
    if (drawn(r, mask, path, d) && r.counter(counter) > 0)
      line.points.emplace_back(double(r.size("n")), r.counter(counter));
  std::sort(line.points.begin(), line.points.end());
  return line;
}

report::panel panel_of(const std::vector<result>& results, const std::string& mask,
                       const std::string& counter) {
  report::panel p{.title = mask, .lines = {}};
  for (const char* path : {"naive", "flash"})
    for (const long d : {64L, 128L}) {
      report::series line = series_of(results, mask, path, d, counter);
      if (!line.points.empty()) p.lines.push_back(std::move(line));
    }
  return p;
}

struct extent {
  double low = 0;
  double high = 0;
};

extent extent_of(const std::vector<report::panel>& panels, bool of_x) {
  extent e{1e300, 0};
  for (const auto& panel : panels)
    for (const auto& line : panel.lines)
      for (const auto& [x, y] : line.points) {
        e.low = std::min(e.low, of_x ? x : y);
        e.high = std::max(e.high, of_x ? x : y);
      }
  return e;
}

// factor·base^k from just below the data to just above.
std::vector<report::tick> ticks_of(extent e, const std::vector<double>& steps, double base,
                                   std::string (*label)(double)) {
  std::vector<double> values;
  for (double power = 1; power < e.high * base; power *= base)
    for (const double step : steps) values.push_back(power * step);
  const auto above = std::upper_bound(values.begin(), values.end(), e.low);
  const auto first = above == values.begin() ? above : above - 1;
  auto last = std::lower_bound(values.begin(), values.end(), e.high * 0.97);
  if (last != values.end()) ++last;
  if (last - first == 1 && last != values.end()) ++last;  // an axis has two ends
  std::vector<report::tick> ticks;
  for (auto value = first; value != last; ++value) ticks.push_back({*value, label(*value)});
  return ticks;
}

std::string plain_label(double x) { return text_of("%.0f", x); }

void save(const std::string& file, const std::string& content) {
  if (file.empty()) return;
  std::ofstream stream(file);
  stream << content;
  stream.close();
  if (!stream) throw std::runtime_error(file + ": cannot be written");
}

std::string source_line(const nlohmann::json& document) {
  const auto& context = document.at("context");
  const auto value = [&](const char* key) { return context.value(key, std::string("?")); };
  return "dot scores, fp32, one head, one thread, n = m; " + value("peak_instruction_set") + ", " +
         value("compiler") + ", softlook built " + value("flags");
}

// No rows to draw: no file.
void draw_speed(const nlohmann::json& document, const std::vector<result>& results,
                const std::string& file) {
  report::chart c{.title = "Attention forward: speed over sequence length",
                  .subtitle = source_line(document) + "; causal counts half the flops",
                  .x_title = "n = m",
                  .y_title = "GFLOP/s",
                  .x_ticks = {},
                  .y_ticks = {},
                  .panels = {panel_of(results, "full", "flops_per_second"),
                             panel_of(results, "causal", "flops_per_second")}};
  std::erase_if(c.panels, [](const report::panel& p) { return p.lines.empty(); });
  if (c.panels.empty()) return;
  std::vector<double> peaks;
  for (const result& r : results)
    for (const char* mask : {"full", "causal"})
      for (const long d : {64L, 128L})
        if (drawn(r, mask, "flash", d) || drawn(r, mask, "naive", d))
          peaks.push_back(r.counter("peak_flops_per_second") / 1e9);
  std::sort(peaks.begin(), peaks.end());
  const extent x = extent_of(c.panels, true);
  for (auto& panel : c.panels) {
    for (auto& line : panel.lines)
      for (auto& point : line.points) point.second /= 1e9;
    const double peak = peaks[peaks.size() / 2];
    panel.lines.push_back({.label = "P (multiply-add peak)",
                           .colour = "#777777",
                           .dashed = true,
                           .mark = report::series::marker::none,
                           .points = {{x.low, peak}, {x.high, peak}}});
  }
  c.x_ticks = ticks_of(x, {1}, 2, plain_label);
  c.y_ticks = ticks_of(extent_of(c.panels, false), {1, 2, 5}, 10, plain_label);
  save(file, c.svg());
}

void draw_memory(const nlohmann::json& document, const std::vector<result>& results,
                 const std::string& file) {
  report::chart c{.title = "Attention forward: scratch memory over sequence length",
                  .subtitle = source_line(document),
                  .x_title = "n = m",
                  .y_title = "heap bytes of one call, at most",
                  .x_ticks = {},
                  .y_ticks = {},
                  .panels = {panel_of(results, "full", "scratch_bytes"),
                             panel_of(results, "causal", "scratch_bytes")}};
  std::erase_if(c.panels, [](const report::panel& p) { return p.lines.empty(); });
  if (c.panels.empty()) return;
  c.x_ticks = ticks_of(extent_of(c.panels, true), {1}, 2, plain_label);
  c.y_ticks = ticks_of(extent_of(c.panels, false), {1}, 4, bytes_text);
  save(file, c.svg());
}

struct arguments {
  std::string json, speed, memory;
  std::vector<std::string> files;
};

arguments parse(int argc, char** argv) {
  arguments a;
  std::map<std::string, std::string*> options = {
      {"--json", &a.json}, {"--speed", &a.speed}, {"--memory", &a.memory}};
  for (int k = 1; k < argc; ++k) {
    const auto option = options.find(argv[k]);
    if (option == options.end())
      a.files.emplace_back(argv[k]);
    else if (++k < argc)
      *option->second = argv[k];
    else
      throw std::runtime_error(option->first + " needs a file name");
  }
  if (a.files.empty())
    throw std::runtime_error("usage: bench_report [--json F] [--speed F] [--memory F] FILE...");
  return a;
}

int report_all(const arguments& a) {
  const nlohmann::json document = report::read_all(a.files);
  const std::vector<result> results = report::results_of(document);
  print_context(document);
  print_peaks(results);
  print_load(results);
  print_neighbours(results);
  print_table(results);
  save(a.json, document.dump(2) + "\n");
  draw_speed(document, results, a.speed);
  draw_memory(document, results, a.memory);
  const auto failed = std::count_if(results.begin(), results.end(),
                                    [](const result& r) { return !r.failure.empty(); });
  std::printf("\n%zu rows, %td failed\n", results.size(), failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return report_all(parse(argc, argv));
  } catch (const std::exception& e) {
    std::cerr << "bench_report: " << e.what() << '\n';
    return 2;
  }
}
