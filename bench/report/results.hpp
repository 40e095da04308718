#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace report {

/// A row as measured: medians over the repetitions.
struct result {
  std::string name;
  std::string family;                 // the first part of the name
  std::string path;                   // naive, flash, auto
  std::string group;                  // what rows of one table have in common
  std::map<std::string, long> sizes;  // n, m, d, heads, threads
  std::string suffix;                 // cold, double, …
  double seconds = 0;
  double core_share = 1;  // processor time / real time of one thread; less than 1 on a busy machine
  double spread = 0;      // (slowest − fastest repetition) / median
  std::map<std::string, double> counters;
  std::string failure;

  [[nodiscard]] double counter(const std::string& which) const;  // NaN if it has none
  [[nodiscard]] bool has(const std::string& which) const { return counters.contains(which); }
  [[nodiscard]] long size(const std::string& which) const;  // 0 if the name has none
};

/// One document of several: the context of the first, the benchmarks of all, in order.
/// \throws std::runtime_error naming the file that cannot be read.
[[nodiscard]] nlohmann::json read_all(const std::vector<std::string>& files);

[[nodiscard]] std::vector<result> results_of(const nlohmann::json& document);

}  // namespace report
