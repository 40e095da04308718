#include "report/results.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <stdexcept>

namespace report {
namespace {

const std::set<std::string> google_fields = {"name",
                                             "family_index",
                                             "per_family_instance_index",
                                             "run_name",
                                             "run_type",
                                             "repetitions",
                                             "repetition_index",
                                             "threads",
                                             "iterations",
                                             "real_time",
                                             "cpu_time",
                                             "time_unit",
                                             "aggregate_name",
                                             "aggregate_unit",
                                             "error_occurred",
                                             "error_message",
                                             "skipped",
                                             "label"};

double seconds_of(const nlohmann::json& entry) {
  static const std::map<std::string, double> units = {
      {"s", 1.0}, {"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}};
  return entry.at("real_time").get<double>() * units.at(entry.at("time_unit").get<std::string>());
}

std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts;
  std::istringstream stream(name);
  for (std::string part; std::getline(stream, part, '/');) parts.push_back(part);
  return parts;
}

// forward/<path>/<score>/<mask>/n:<n>/m:<m>/d:<d>/heads:<h>/threads:<t>[/suffix], or
// small/<path>/<mask>/n:<n>/m:<m>/d:<d>, or functor/<function>/<instruction set>/n:<n>/…, or
// layer/<path>/<layer>/…/n:<n>
void take_name_apart(result& r) {
  std::vector<std::string> common;
  for (const std::string& part : parts_of(r.name)) {
    const auto colon = part.find(':');
    if (colon != std::string::npos) {
      r.sizes[part.substr(0, colon)] = std::stol(part.substr(colon + 1));
    } else if (r.family.empty()) {
      r.family = part;
    } else if (r.path.empty()) {
      r.path = part;
    } else {
      if (!r.sizes.empty()) r.suffix = part;
      common.push_back(part);
    }
  }
  r.group = r.family;
  if (r.sizes.contains("m") && r.size("n") != r.size("m"))
    r.group += r.size("n") < r.size("m") ? ", few queries" : ", few keys";
  for (const std::string& part : common) r.group += ", " + part;
  for (const char* which : {"d", "heads", "threads"})
    if (r.sizes.contains(which))
      r.group += std::string(", ") + which + " = " + std::to_string(r.size(which));
}

// Counters and time of the median, or of the only repetition.
void take_measurement(result& r, const nlohmann::json& entry) {
  r.seconds = seconds_of(entry);
  r.core_share = entry.at("cpu_time").get<double>() / entry.at("real_time").get<double>();
  for (const auto& [key, value] : entry.items())
    if (!google_fields.contains(key) && value.is_number()) r.counters[key] = value.get<double>();
}

// Google Benchmark writes NaN, which JSON does not have, where it divides by a mean of 0: the
// variation of a row that takes no scratch.
std::string text_with_null(std::istream& stream) {
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  for (std::size_t at = 0; (at = text.find(": NaN", at)) != std::string::npos;)
    text.replace(at, 5, ": null");
  return text;
}

}  // namespace

double result::counter(const std::string& which) const {
  const auto found = counters.find(which);
  return found == counters.end() ? std::numeric_limits<double>::quiet_NaN() : found->second;
}

long result::size(const std::string& which) const {
  const auto found = sizes.find(which);
  return found == sizes.end() ? 0 : found->second;
}

nlohmann::json read_all(const std::vector<std::string>& files) {
  nlohmann::json all;
  for (const std::string& file : files) {
    std::ifstream stream(file);
    if (!stream) throw std::runtime_error(file + ": cannot be read");
    nlohmann::json one;
    try {
      one = nlohmann::json::parse(text_with_null(stream));
    } catch (const nlohmann::json::exception& e) {
      throw std::runtime_error(file + ": " + e.what());
    }
    if (all.is_null()) {
      all = std::move(one);
    } else {
      for (auto& entry : one.at("benchmarks")) all.at("benchmarks").push_back(std::move(entry));
    }
  }
  return all;
}

std::vector<result> results_of(const nlohmann::json& document) {
  std::vector<result> results;
  std::map<std::string, std::size_t> places;
  std::map<std::string, std::vector<double>> repetitions;
  for (const auto& entry : document.at("benchmarks")) {
    const auto name = entry.at("run_name").get<std::string>();
    const auto [place, fresh] = places.try_emplace(name, results.size());
    if (fresh) {
      results.emplace_back().name = name;
      take_name_apart(results.back());
    }
    result& r = results[place->second];
    if (entry.contains("error_message")) r.failure = entry.at("error_message").get<std::string>();
    const auto aggregate = entry.value("aggregate_name", std::string{});
    if (aggregate.empty() && r.failure.empty()) repetitions[name].push_back(seconds_of(entry));
    if (aggregate == "median" || (aggregate.empty() && fresh && r.failure.empty()))
      take_measurement(r, entry);
  }
  for (result& r : results) {
    const auto& times = repetitions[r.name];
    if (times.size() < 2) continue;
    const auto [fastest, slowest] = std::minmax_element(times.begin(), times.end());
    r.spread = (*slowest - *fastest) / r.seconds;
  }
  return results;
}

}  // namespace report
