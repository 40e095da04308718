// What a call must give, from loops in double.
#pragma once

#include <cstdio>
#include <vector>

#include "softlook/core/dropout.hpp"
#include "softlook/core/random.hpp"
#include "tests/property/call/policies.hpp"

namespace softlook_test::call_case {

/// Rows that are one problem: rows [q, q + n) and [k, k + m) of the call.
struct part {
  softlook::range q, k;
  problem size;
  index first_query = 0, first_key = 0;
  const std::int32_t* positions = nullptr;
  std::int32_t query(index i) const {
    return positions ? positions[i] : std::int32_t(first_query + i);
  }
};

struct call {
  plain Q, K, V;  // as the kernels read them
  index heads = 1, kv = 1;
  double scale = 1;
  any_mask mask{};
  any_transform transform;
  std::vector<double> sinks;  // none, or one for each head
  softlook::dropout drop{};
  std::vector<part> parts;
};

/// Whether the weight of a pair stays, and what it grows by: as the comment of dropout says.
inline double kept_share(const call& c, const part& p, index i, index j, index head) {
  if (!(c.drop.probability > 0)) return 1;
  const auto at = std::uint32_t(p.first_key + j);
  const auto words = softlook::detail::philox(
      {at / 4, std::uint32_t(p.query(i)), std::uint32_t(head), std::uint32_t(p.size.sequence)},
      {std::uint32_t(c.drop.seed), std::uint32_t(c.drop.seed >> 32)});
  const bool dropped = double(words[at % 4]) < c.drop.probability * 0x1p32;
  return dropped ? 0 : 1 / (1 - c.drop.probability);
}

/// Scores and magnitudes of a row.
struct scored {
  std::vector<double> s;  // −∞: no key
  double size = 0;        // of the products of a score, and of what transforms add
  bool usual = true;      // neither large nor tiny beyond what float holds
};

inline scored scores_of(const call& c, const part& p, index i, index head) {
  const index d = c.Q.cols() / c.heads, of = head / (c.heads / c.kv);
  problem size = p.size;
  size.head = std::int32_t(head);
  scored r;
  for (index j = 0; j < p.k.count(); ++j) {
    const std::int32_t at = std::int32_t(p.first_key + j);
    double s = 0, products = 0, most = 0;
    r.s.push_back(-infinity);
    if (!c.mask.allows(p.query(i), at, size)) continue;
    for (index x = 0; x < d; ++x) {
      const double q = c.Q(p.q.begin + i, head * d + x), k = c.K(p.k.begin + j, of * d + x);
      s += q * k;
      if (std::isfinite(q)) most = std::max(most, std::abs(q) * std::max(1.0, std::abs(c.scale)));
      if (std::isfinite(k)) most = std::max(most, std::abs(k) * std::max(1.0, std::abs(c.scale)));
      if (std::isfinite(q * k)) products += std::abs(q * k);
      // scale · q may become 0 in float before it meets ∞.
      else if (std::abs(q * c.scale) < 1e-30 && q * c.scale != 0)
        r.usual = false;
    }
    const double raw = c.scale * s;
    const double t = c.transform(raw, p.query(i), at, size);
    r.s.back() = t;
    r.usual = r.usual && most < 1e12;
    products *= std::abs(c.scale);
    if (c.transform.kind == any_transform::scaled) products *= 2;
    if (std::isfinite(raw) && std::isfinite(t))
      products +=
          std::abs(t - raw) + (c.transform.kind == any_transform::capped ? std::abs(raw) * 8 : 0);
    r.size = std::max(r.size, products + (std::isfinite(t) ? std::abs(t) : 0));
  }
  return r;
}

struct row {
  std::vector<double> output;
  double log_sum_exp = -infinity;
  double tolerance = 0;  // of a weight, relatively
  double values = 0;     // largest magnitude
  bool comparable = true;
  std::vector<char> told;  // columns whose NaN and ∞ do not hang on an underflow
};

inline row row_of(const call& c, const part& p, index i, index head) {
  constexpr double epsilon = std::numeric_limits<float>::epsilon();
  const index e = c.V.cols() / c.kv, of = head / (c.heads / c.kv), d = c.Q.cols() / c.heads;
  const scored from = scores_of(c, p, i, head);
  const double sink = c.sinks.empty() ? -infinity : c.sinks[std::size_t(head)];
  row r;
  r.output.assign(std::size_t(e), 0);
  r.told.assign(std::size_t(e), 1);
  double top = -infinity;
  bool nan = false;
  for (const double s : from.s) {
    nan = nan || std::isnan(s) || s == infinity;
    top = std::max(top, std::isnan(s) ? top : s);
  }
  r.comparable = from.usual && from.size < 1e30;
  const double size = from.size + (sink == -infinity ? 0 : std::abs(sink) + std::abs(top));
  r.tolerance = 2 * epsilon * ((double(d) + 16) * size + double(p.k.count()) + 32) + 1e-6;
  if (nan) {
    r.log_sum_exp = top == infinity ? infinity : NAN;
    std::fill(r.output.begin(), r.output.end(), NAN);
    return r;
  }
  if (top == -infinity) {
    r.log_sum_exp = sink;
    return r;
  }
  const double beside = std::max(top, sink);
  double sum = sink == -infinity ? 0 : std::exp(sink - beside);
  for (const double s : from.s) sum += s == -infinity ? 0 : std::exp(s - beside);
  r.log_sum_exp = beside + std::log(sum);
  for (std::size_t j = 0; j < from.s.size(); ++j) {
    if (from.s[j] == -infinity) continue;
    const double share = kept_share(c, p, i, index(j), head);
    const double weight = share * std::exp(from.s[j] - beside) / sum;
    for (index x = 0; x < e && share > 0; ++x) {  // what is dropped touches no value
      const double v = c.V(p.k.begin + index(j), of * e + x);
      r.output[std::size_t(x)] += weight * v;
      if (std::isfinite(v))
        r.values = std::max(r.values, std::abs(v) * std::max(share, 1.0));
      else if (weight < 1e-30 || r.tolerance > 1e-2)
        r.told[std::size_t(x)] = 0;
    }
  }
  return r;
}

inline void compare_number(double is, double must, double tolerance, const char* what) {
  if (std::isnan(must)) return require(std::isnan(is), what);
  if (std::isinf(must)) return require(is == must, what);
  if (std::abs(is - must) <= tolerance) return;
  char text[200];
  std::snprintf(text, sizeof text, "%s: %g instead of %g, tolerance %g", what, is, must, tolerance);
  require(false, text);
}

/// The rows of all parts and heads of a call, in this order.
inline std::vector<row> rows_of_call(const call& c) {
  std::vector<row> rows;
  for (const part& p : c.parts)
    for (index i = 0; i < p.q.count(); ++i)
      for (index head = 0; head < c.heads; ++head) rows.push_back(row_of(c, p, i, head));
  return rows;
}

inline void compare_log_sum_exp(double is, const row& must) {
  if (must.log_sum_exp == infinity)
    require(std::isnan(is) || is == infinity, "a log-sum-exp is wrong");
  else
    compare_number(is, must.log_sum_exp, must.tolerance * 2, "a log-sum-exp is wrong");
}

/// Output and, where it is given, log-sum-exp. Rows of no part are zeros and −∞.
template <class O, class L>
void compare(const call& c, const std::vector<row>& rows, const O& output, const L* log_sum_exp) {
  const index e = c.V.cols() / c.kv;
  std::vector<char> seen(std::size_t(c.Q.rows()), 0);
  auto next = rows.begin();
  for (const part& p : c.parts)
    for (index at = p.q.begin; at < p.q.end; ++at)
      for (index head = 0; head < c.heads; ++head) {
        seen[std::size_t(at)] = 1;
        const row& must = *next++;
        if (!must.comparable) continue;
        const double far = must.tolerance > 0.1 ? 2.5 : 3 * must.tolerance;
        for (index x = 0; x < e && must.values < 1e30; ++x)
          if (must.told[std::size_t(x)])
            compare_number(double(output(at, head * e + x)), must.output[std::size_t(x)],
                           must.values * far + 1e-37, "an output number is wrong");
        if (log_sum_exp) compare_log_sum_exp(double((*log_sum_exp)(at, head)), must);
      }
  for (index i = 0; i < c.Q.rows(); ++i) {
    if (seen[std::size_t(i)]) continue;
    for (index x = 0; x < e * c.heads; ++x)
      require(output(i, x) == 0, "a row of padding is not zero");
    for (index head = 0; log_sum_exp && head < c.heads; ++head)
      require((*log_sum_exp)(i, head) == -infinity, "a log-sum-exp of padding is not -inf");
  }
}

}  // namespace softlook_test::call_case
