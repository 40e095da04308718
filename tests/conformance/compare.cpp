#include "compare.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace conformance {
namespace {

// Where a float32 or half-precision case also gives the result of the same inputs in float64, the
// double run is held to what the float64 cases of that family are held to.
constexpr tolerance widened_output = {1e-9, 1e-10};
// What arithmetic in half precision is off by: the library takes float and double, so inputs of
// half precision are widened, and its results are nearer to output_f64 than the origin's.
constexpr tolerance half_output = {3e-2, 3e-2};
// README of the cases: the sums of a sampled tensor agree to about this, relative to Σ|x|.
constexpr double sample_sum_tolerance = 1e-8;

std::string digits(double x) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", x);
  return text;
}

std::string difference_at(const std::string& name, index at, double got, double want) {
  return name + "[" + std::to_string(at) + "] is " + digits(got) + ", expected " + digits(want);
}

bool is_float32(const case_file& c) {
  for (const auto& [name, t] : c.inputs)
    if (t.dtype == "float64") return false;
  return true;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

tolerance tolerance_of(const case_file& c, const std::string& name, const mode& m, double bound) {
  tolerance t = {c.relative_tolerance, c.absolute_tolerance};
  const bool widened = ends_with(name, "_f64");
  if (const auto found = c.outputs.find(name); found != c.outputs.end() && found->second.is_half())
    t = {std::max(t.relative, half_output.relative), std::max(t.absolute, half_output.absolute)};
  if (!m.single_precision) return widened ? widened_output : t;
  // A float32 case was computed in float itself: its tolerance counts unless rounding may exceed
  // it.
  const bool own_precision = is_float32(c) && !widened;
  t.absolute = own_precision ? std::max(t.absolute, bound) : t.absolute + bound;
  return t;
}

std::string compare_tensor(const std::string& name, const produced& got, const tensor& want,
                           tolerance t) {
  if (got.shape != want.shape || got.values.size() != want.values.size())
    return name + " has another shape than expected";
  for (std::size_t i = 0; i < want.values.size(); ++i)
    if (!agrees(got.values[i], want.values[i], t))
      return difference_at(name, static_cast<index>(i), got.values[i], want.values[i]);
  return "";
}

std::string compare_sample(const std::string& name, const produced& got, const sample& want,
                           tolerance t, double bound) {
  if (got.shape != want.shape) return name + " has another shape than expected";
  for (std::size_t i = 0; i < want.positions.size(); ++i) {
    const double value = got.values[static_cast<std::size_t>(want.positions[i])];
    if (!agrees(value, want.values[i], t))
      return difference_at(name, want.positions[i], value, want.values[i]);
  }
  double sum = 0, absolute = 0;
  for (const double x : got.values) {
    sum += x;
    absolute += std::abs(x);
  }
  const tolerance whole = {0, sample_sum_tolerance * want.absolute_sum +
                                  static_cast<double>(got.values.size()) * (bound + t.absolute)};
  if (!agrees(sum, want.sum, whole) || !agrees(absolute, want.absolute_sum, whole))
    return "the sum of " + name + " is " + digits(sum) + ", expected " + digits(want.sum);
  return "";
}

}  // namespace

bool agrees(double got, double want, tolerance t) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want)) return got == want;
  // Stated so that a NaN on either side fails.
  return std::isfinite(got) && std::abs(got - want) <= t.absolute + t.relative * std::abs(want);
}

comparison compare(const case_file& c, const outputs& got, const mode& m) {
  comparison result;
  const auto check = [&](const std::string& name, const auto& one) {
    const auto found = got.find(name);
    std::string difference;
    if (found != got.end()) {
      const double bound = m.single_precision ? found->second.bound : 0;
      difference = one(found->second, tolerance_of(c, name, m, bound), bound);
    } else if (name.rfind("grad_", 0) == 0) {
      ++result.unchecked_gradients;
    } else {
      difference = name + " is not computed";
    }
    if (result.difference.empty()) result.difference = difference;
  };
  for (const auto& [name, want] : c.outputs)
    check(name, [&, n = name, w = &want](const produced& p, tolerance t, double) {
      return compare_tensor(n, p, *w, t);
    });
  for (const auto& [name, want] : c.samples)
    check(name, [&, n = name, w = &want](const produced& p, tolerance t, double bound) {
      return compare_sample(n, p, *w, t, bound);
    });
  return result;
}

std::string compare_runs(const case_file& c, const outputs& first, const outputs& other) {
  const tolerance t = {c.relative_tolerance, c.absolute_tolerance};
  for (const auto& [name, want] : first) {
    const produced& got = other.at(name);
    if (got.values.size() != want.values.size()) return name + " has another size";
    for (std::size_t i = 0; i < want.values.size(); ++i)
      if (!agrees(got.values[i], want.values[i], t))
        return difference_at(name, static_cast<index>(i), got.values[i], want.values[i]) +
               " by the naive path";
  }
  return "";
}

}  // namespace conformance
