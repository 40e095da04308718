#pragma once

#include <optional>
#include <softlook/gradient/attention.hpp>
#include <softlook/softlook.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "bounds.hpp"
#include "grid.hpp"
#include "tests/support/kernels.hpp"

namespace conformance {

/// One of the ways in which every case is computed.
struct mode {
  enum class path { naive, tiled, smallest_tiles, few_queries, automatic };
  path how = path::naive;
  softlook::instruction_set isa = softlook::instruction_set::baseline;
  bool single_precision = false;

  softlook::options options(std::optional<double> scale) const {
    softlook::options o;
    o.scale = scale;
    o.isa = isa;
    if (how == path::naive) o.kernel = softlook::kernel::naive;
    if (how == path::tiled || how == path::smallest_tiles) o.kernel = softlook::kernel::tiled;
    if (how == path::few_queries) o.kernel = softlook::kernel::few_queries;
    if (how == path::smallest_tiles) o.tile = softlook::tile_shape{.keys = 1, .query_tiles = 1};
    return o;
  }
};

std::string name_of(const mode& m);

/// The scores are too large for float to carry their differences; the case is checked in double.
struct beyond_float : std::runtime_error {
  beyond_float() : std::runtime_error("scores too large for float") {}
};

/// What the scores of one call are made of, for the error bound.
struct score_size {
  double magnitude = 0;
  index steps = 0;
};

/// One call: the heads of one batch side by side.
template <class T>
struct head_problem {
  matrix<T> Q, K, V;
  index query_heads = 1;
  index kv_heads = 1;
  std::optional<double> scale;
  std::optional<score_size> size;  // unset: a scaled dot product
  double added = 0;                // largest term that transforms add
  bool wants_weights = true;
  std::optional<matrix<T>> dO{};  // gradients are wanted

  score_size scores() const {
    if (size) return {size->magnitude + added, size->steps};
    const auto features = static_cast<double>(Q.cols()) / static_cast<double>(query_heads);
    const double factor = scale ? std::abs(*scale) : 1 / std::sqrt(std::max(features, 1.0));
    return {factor * dot_magnitude(Q, K) + added, Q.cols()};
  }
  error_bounds bounds() const {
    const score_size s = scores();
    const double epsilon = std::numeric_limits<T>::epsilon();
    return attention_error(epsilon, K.rows(), score_error(epsilon, s.steps, s.magnitude),
                           s.magnitude, finite_magnitude(V));
  }
};

template <class T>
struct head_answer {
  matrix<T> output;                // n × (query heads · e)
  matrix<T> log_sum_exp;           // n × query heads
  std::vector<matrix<T>> weights;  // n × m for each query head
  // Where they are wanted:
  softlook::attention_gradients<matrix<T>> gradients{};
  std::vector<matrix<T>> dS{};  // of transformed scores, n × m for each query head
  std::vector<double> dS_S{};   // Σ dS ∘ S of each query head, S before transforms
};

namespace detail {

/// The gradients of an answer, of scores that are dot products.
template <class T, class... Policies>
void add_gradients([[maybe_unused]] const mode& m, const head_problem<T>& p,
                   [[maybe_unused]] head_answer<T>& answer, const Policies&... policies) {
  using stated = softlook::detail::stated_policies<T, Policies...>;
  if constexpr (!stated::is_additive && !stated::projects) {
    if (!p.dO) return;
    const auto heads = static_cast<std::size_t>(p.query_heads);
    answer.dS.assign(heads, matrix<T>::Zero(p.Q.rows(), p.K.rows()));
    answer.dS_S.assign(heads, 0);
    softlook::backward_extras<T> extras;
    extras.scores = [&](const softlook::score_gradients<T>& g, index head) {
      for (index i = 0; i < g.dS.rows; ++i)
        for (index j = 0; j < g.dS.cols; ++j) {
          answer.dS[static_cast<std::size_t>(head)](g.first_query + i, g.first_key + j) +=
              g.dS(i, j);
          answer.dS_S[static_cast<std::size_t>(head)] += double(g.dS(i, j)) * double(g.S(i, j));
        }
    };
    softlook::options o = m.options(p.scale);
    o.kernel.reset();
    softlook::attention_backward_into(
        p.Q, p.K, p.V, answer.output, answer.log_sum_exp, *p.dO, answer.gradients, extras,
        softlook::heads{.query = p.query_heads, .kv = p.kv_heads}, policies..., o);
  }
}

template <class T, class... Policies>
head_answer<T> attend_one_head(const mode& m, const head_problem<T>& p,
                               const Policies&... policies) {
  const softlook::options o = m.options(p.scale);
  if (m.how == mode::path::naive) {
    auto r = softlook::naive_attention(p.Q, p.K, p.V, policies..., o);
    head_answer<T> answer{r.output, r.log_sum_exp, {r.weights}};
    add_gradients(m, p, answer, policies...);
    return answer;
  }
  const auto state = m.how == mode::path::tiled
                         ? softlook::flash_attention_with_log_sum_exp(p.Q, p.K, p.V, policies..., o)
                         : softlook::attention_with_log_sum_exp(p.Q, p.K, p.V, policies..., o);
  head_answer<T> answer{state.output, state.log_sum_exp, {}};
  add_gradients(m, p, answer, policies...);
  if (m.how == mode::path::automatic)
    answer.output = softlook::attention(p.Q, p.K, p.V, policies..., o);
  if (p.wants_weights) answer.weights = {softlook::attention_weights(p.Q, p.K, policies..., o)};
  return answer;
}

template <class T, class... Policies>
head_answer<T> attend_heads(const mode& m, const head_problem<T>& p, const Policies&... policies) {
  const softlook::options o = m.options(p.scale);
  const softlook::heads h{.query = p.query_heads, .kv = p.kv_heads};
  const auto state = softlook::attention_with_log_sum_exp(p.Q, p.K, p.V, h, policies..., o);
  head_answer<T> answer{state.output, state.log_sum_exp, {}};
  add_gradients(m, p, answer, policies...);
  if (p.wants_weights)
    for (const auto& W : softlook::attention_weights(p.Q, p.K, h, policies..., o))
      answer.weights.push_back(W);
  return answer;
}

}  // namespace detail

/// \throws beyond_float  when T is float and the bound on its errors says nothing.
template <class T, class... Policies>
head_answer<T> attend(const mode& m, const head_problem<T>& p, const Policies&... policies) {
  if (m.single_precision && !says_something(p.bounds())) throw beyond_float();
  if (p.query_heads == 1 && p.kv_heads == 1) return detail::attend_one_head(m, p, policies...);
  return detail::attend_heads(m, p, policies...);
}

/// \throws std::invalid_argument  unless the condition holds.
inline void demand(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

/// The scores of each query head at a stage.
template <class T, class... Policies>
std::vector<matrix<T>> attend_scores(const mode& m, const head_problem<T>& p, softlook::stage at,
                                     const Policies&... policies) {
  if (m.single_precision && !says_something(p.bounds())) throw beyond_float();
  std::vector<matrix<T>> scores;
  for (index h = 0; h < p.query_heads; ++h) {
    const auto Qh = softlook::head_columns(p.Q, h, p.query_heads);
    const auto Kh = softlook::head_columns(p.K, h / (p.query_heads / p.kv_heads), p.kv_heads);
    scores.push_back(softlook::attention_scores(Qh, Kh, at, policies..., m.options(p.scale)));
  }
  return scores;
}

}  // namespace conformance
