#pragma once

#include <cmath>
#include <limits>

#include "softlook/core/sinks.hpp"
#include "softlook/engine/run/attention_call.hpp"

// Sinks join a row when its softmax is done, from its log-sum-exp alone: whichever kernel ran, and
// no kernel knows of them.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// What becomes of a row with a sink: its weights and its output are multiplied by `share`.
struct joined_row {
  double share;
  double log_sum_exp;
};

/// share = 1 / (1 + exp(s − L)),  L' = log(exp(L) + exp(s)). An empty row stays one of zeros.
template <class T>
[[nodiscard]] joined_row join_sink(T log_sum_exp, double sink) {
  constexpr double nothing = -std::numeric_limits<double>::infinity();
  const double before = double(log_sum_exp);
  if (sink == nothing) return {1, before};
  if (before == nothing) return {1, sink};
  const double ahead = sink - before;
  return {1 / (1 + std::exp(ahead)),
          ahead > 0 ? sink + std::log1p(std::exp(-ahead)) : before + std::log1p(std::exp(ahead))};
}

/// Joins the sinks of a head's rows, whose log-sum-exp is known.
template <class T>
void join_sinks(const attention_call<T>& c, index head) {
  const mutable_matrix_view<T> O = columns_of_head(c.O, head, c.values(), c.heads_apart.O);
  const mutable_matrix_view<T> L =
      columns_of_head(c.log_sum_exp, head, 1, c.heads_apart.log_sum_exp);
  for (index i = 0; i < c.Q.rows; ++i) {
    const joined_row row = join_sink(L(i, 0), c.sinks.logits(0, head));
    L(i, 0) = T(row.log_sum_exp);
    for (index x = 0; x < O.cols; ++x) O(i, x) *= T(row.share);
  }
}

/// Runs a call by its kernels and joins the sinks.
template <class T>
void run_with_sinks(const attention_call<T>& given) {
  attention_call<T> c = given;
  softlook::workspace own;
  if (!c.log_sum_exp.data) {
    const bool apart = c.sequences.apart.Q != adjacent;  // Q has the rows of one sequence
    softlook::workspace& room = c.opts.workspace ? *c.opts.workspace : own;
    const index count = c.Q.rows * c.query_heads * (apart ? c.sequences.count : 1);
    void* const numbers = room.reserve(static_cast<std::size_t>(count) * sizeof(T));
    c.log_sum_exp = {static_cast<T*>(numbers), c.Q.rows, c.query_heads, c.query_heads, 1};
    c.heads_apart.log_sum_exp = adjacent;
    c.sequences.apart.log_sum_exp = apart ? c.Q.rows * c.query_heads : adjacent;
    if (c.opts.workspace) c.opts.workspace = &room.inner();
  }
  c.forward(c);
  const index sequences = c.sequences.count;
  run_tasks(c.exec, c.query_heads * std::max<index>(sequences, 1), [&](index task, index) {
    const index s = task / c.query_heads, head = task % c.query_heads;
    if (sequences > 0)
      join_sinks(sequence_of(c, s), head);
    else
      join_sinks(c, head);
  });
}

template <class T>
void check_sinks(const attention_call<T>& c) {
  const matrix_view<double>& s = c.sinks.logits;
  check_sizes(c.where, "sinks.size()", s.cols, "the number of query heads", c.query_heads,
              "one sink for each query head");
  for (index head = 0; head < s.cols; ++head)
    if (s(0, head) != -std::numeric_limits<double>::infinity())
      check_parameter<T>(c.where, "sinks of a head", s(0, head), parameter::finite,
                         "a sink is -inf, or finite");
}

template <class T>
[[nodiscard]] sink_calls<T> calls_of_sinks(const softlook::sinks& given) {
  return {given.logits(), &run_with_sinks<T>, &check_sinks<T>};
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
