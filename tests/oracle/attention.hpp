// Attention by its definition: nested loops in long double, taking the same policy objects as the
// library. It trusts a mask's allows() and a transform's call operator, nothing else of them.
#pragma once

#include <vector>

#include "softlook/core/concepts.hpp"
#include "softlook/core/sinks.hpp"
#include "tests/oracle/scores.hpp"

namespace oracle {

struct result {
  matrix raw;     ///< scaled scores
  matrix scores;  ///< after transforms and mask: −∞ where forbidden
  matrix weights;
  matrix output;
  column log_sum_exp;
};

/// The head a policy is asked about; only multi-head attention has more than one.
struct for_head {
  std::int32_t head = 0;
};

namespace parts {

template <class P>
real scale_in(real otherwise, const P& p) {
  if constexpr (std::is_same_v<P, softlook::options>) {
    if (p.scale) return static_cast<real>(*p.scale);
  }
  return otherwise;
}

template <class P>
std::int32_t head_in(std::int32_t otherwise, const P& p) {
  if constexpr (std::is_same_v<P, for_head>) return p.head;
  return otherwise;
}

/// The logit that joins a softmax without a value, −∞ for none.
template <class P>
real sink_in(real otherwise, std::int32_t head, const P& p) {
  if constexpr (std::is_same_v<P, softlook::sinks>) return static_cast<real>(p.logits()(0, head));
  return otherwise;
}

template <class T, class P>
score_definition defined_by(score_definition otherwise, const matrix& Q, const matrix& K,
                            const P& p) {
  if constexpr (softlook::score_policy<P>) return define<T>(p, Q, K);
  return otherwise;
}

template <class P>
real transformed_by(real s, std::int32_t i, std::int32_t j, softlook::problem size, const P& p) {
  if constexpr (softlook::transform_policy<P>) return p(s, i, j, size);
  return s;
}

template <class P>
bool allowed_by(std::int32_t i, std::int32_t j, softlook::problem size, const P& p) {
  if constexpr (softlook::mask_policy<P>) return p.allows(i, j, size);
  return true;
}

/// softmax of a row of scores; a row without a live key has no weights and log-sum-exp −∞, or that
/// of its sink.
inline void softmax_row(result& r, index i, const std::vector<char>& allowed, real sink) {
  const index m = r.scores.cols();
  const real* const s = r.scores.data() + i * m;
  real* const w = r.weights.data() + i * m;
  const char* const live = allowed.data();
  real largest = sink;
  for (index j = 0; j < m; ++j) {
    if (!live[j] || std::isnan(largest)) continue;
    if (std::isnan(s[j]) || s[j] > largest) largest = s[j];
  }
  r.log_sum_exp(i) = largest;
  if (largest == -infinity) return;
  real sum = sink == -infinity ? 0 : std::exp(sink - largest);
  for (index j = 0; j < m; ++j) {
    if (!live[j]) continue;
    w[j] = std::exp(s[j] - largest);
    sum += w[j];
  }
  for (index j = 0; j < m; ++j) w[j] /= sum;
  r.log_sum_exp(i) = largest + std::log(sum);
}

/// The sum of values of a row's live keys, weighted; what they hold otherwise does not count.
inline void output_row(result& r, index i, const std::vector<char>& allowed, const matrix& V) {
  const index m = r.weights.cols(), e = V.cols();
  const real* const w = r.weights.data() + i * m;
  real* const o = r.output.data() + i * e;
  const char* const live = allowed.data();
  const real* const v = V.data();
  for (index c = 0; c < e; ++c) {
    for (index j = 0; j < m; ++j) {
      if (live[j]) o[c] += w[j] * v[j * e + c];
    }
  }
}

}  // namespace parts

/// Score policies speak float or double; a layer's projected inputs are already wider than both.
template <class Scalar>
using recipe_scalar = std::conditional_t<softlook::real_scalar<Scalar>, Scalar, double>;

/// softmax(transforms(scale · score(Q, K)) restricted to mask) · V.
template <class QExpr, class KExpr, class VExpr, class... Policies>
result attention(const QExpr& Q, const KExpr& K, const VExpr& V, const Policies&... policies) {
  using T = recipe_scalar<typename QExpr::Scalar>;
  const matrix q = widen(Q), k = widen(K), v = widen(V);
  score_definition score = define<T>(softlook::scores::scaled_dot{}, q, k);
  ((score = parts::defined_by<T>(std::move(score), q, k, policies)), ...);
  real scale = score.default_scale;
  ((scale = parts::scale_in(scale, policies)), ...);
  softlook::problem size{.queries = static_cast<std::int32_t>(q.rows()),
                         .keys = static_cast<std::int32_t>(k.rows())};
  ((size.head = parts::head_in(size.head, policies)), ...);

  real sink = -infinity;
  ((sink = parts::sink_in(sink, size.head, policies)), ...);

  const index n = q.rows(), m = k.rows();
  result r{matrix::Zero(n, m), matrix::Constant(n, m, -infinity), matrix::Zero(n, m),
           matrix::Zero(n, v.cols()), column::Constant(n, -infinity)};
  std::vector<char> live(static_cast<std::size_t>(m));
  for (std::int32_t i = 0; i < size.queries; ++i) {
    for (std::int32_t j = 0; j < size.keys; ++j) {
      bool allowed = true;
      ((allowed = allowed && parts::allowed_by(i, j, size, policies)), ...);
      live[static_cast<std::size_t>(j)] = allowed ? 1 : 0;
      real s = r.raw(i, j) = scale * score_of(score, i, j);
      ((s = parts::transformed_by(s, i, j, size, policies)), ...);
      if (allowed) r.scores(i, j) = s;
    }
    parts::softmax_row(r, i, live, sink);
    if (r.log_sum_exp(i) == -infinity) continue;
    parts::output_row(r, i, live, v);
  }
  return r;
}

}  // namespace oracle
