// Every way to compute an attention against the oracle, with the differential tolerance:
// error ≤ 2 × error of the naive path + rounding.
#pragma once

#include <string>

#include "tests/oracle/attention.hpp"
#include "tests/support/bounds.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/ways.hpp"

namespace softlook_test {

/// What the ways are held against: the truth and how far the naive path is from it.
template <class T>
struct reference {
  oracle::result truth;
  double output_tolerance = 0;
  double log_sum_exp_tolerance = 0;
};

inline softlook::options with_scale(softlook::options opts, std::optional<double> scale) {
  opts.scale = scale;
  return opts;
}

/// Also holds the naive path itself to an absolute bound, or a wrong naive path would excuse
/// others.
template <class Q, class K, class V, class... Policies>
reference<typename Q::Scalar> make_reference(const Q& q, const K& k, const V& v,
                                             std::optional<double> scale,
                                             const Policies&... policies) {
  using T = typename Q::Scalar;
  const auto opts = with_scale({}, scale);
  reference<T> r{.truth = oracle::attention(q, k, v, policies..., opts)};
  const double scores = std::max(max_magnitude(r.truth.raw), max_magnitude(r.truth.scores));
  const double values = max_magnitude(v);
  const auto naive = softlook::naive_attention(q, k, v, policies..., opts);
  const double output_error = max_error(naive.output, r.truth.output);
  const double log_sum_exp_error = max_error(naive.log_sum_exp, r.truth.log_sum_exp);
  const auto features = static_cast<double>(q.cols() + k.cols());
  const auto keys = static_cast<double>(k.rows());
  EXPECT_LE(output_error, attention_bound<T>(keys, features, scores, values)) << "naive output";
  EXPECT_LE(max_error(naive.weights, r.truth.weights),
            attention_bound<T>(keys, features, scores, 1))
      << "naive weights";
  EXPECT_LE(log_sum_exp_error, attention_bound<T>(keys, features, scores, 1)) << "naive LSE";
  r.output_tolerance = 2 * output_error + rounding_of<T>(scores, values);
  r.log_sum_exp_tolerance = 2 * log_sum_exp_error + log_sum_exp_rounding<T>(scores);
  return r;
}

template <class T, class State>
void expect_agrees(const reference<T>& r, const State& state) {
  EXPECT_LE(max_error(state.output, r.truth.output), r.output_tolerance) << "output";
  EXPECT_LE(max_error(state.log_sum_exp, r.truth.log_sum_exp), r.log_sum_exp_tolerance)
      << "log-sum-exp";
}

template <class Q, class K, class V, class... Policies>
void expect_every_way_agrees(const Q& q, const K& k, const V& v, std::optional<double> scale,
                             const Policies&... policies) {
  const auto truth = make_reference(q, k, v, scale, policies...);
  for (const way& which : every_way()) {
    SCOPED_TRACE(which.name);
    expect_agrees(truth, softlook::attention_with_log_sum_exp(q, k, v, policies...,
                                                              with_scale(which.opts, scale)));
  }
}

}  // namespace softlook_test
