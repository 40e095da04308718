#pragma once

#include <optional>
#include <vector>

#include "attend.hpp"

namespace conformance {

/// The masks that frameworks describe by numbers rather than by a matrix; they are combined by AND.
struct mask_parts {
  enum class diagonal { none, top_left, bottom_right };
  diagonal causal = diagonal::none;
  std::optional<index> causal_offset{};
  std::optional<softlook::masks::window> window{};
  std::optional<index> length{};  // padding
};

/// One batched call in the terms of a framework.
struct attention_call {
  grid Q, K, V;
  std::optional<double> scale;
  std::optional<double> soft_cap;
  std::optional<grid> allowed;  // 1 = attend
  std::optional<grid> bias;
  std::vector<mask_parts> masks;  // empty, one for all batches, or one for each
  bool wants_weights = false;
  std::optional<softlook::stage> wants_scores;
  std::optional<grid> dO;  // gradients are wanted, which double runs alone give

  const mask_parts& mask(index batch) const {
    static const mask_parts nothing;
    if (masks.empty()) return nothing;
    return masks.size() == 1 ? masks[0] : masks[static_cast<std::size_t>(batch)];
  }
  /// Masks or biases that differ between heads are given head by head.
  bool per_head() const { return (allowed && allowed->heads > 1) || (bias && bias->heads > 1); }
};

struct attention_answer {
  grid output;
  grid log_sum_exp;  // one column
  grid weights;
  grid scores;
  grid dQ, dK, dV, dbias;  // empty unless they are wanted
  error_bounds bounds;     // of the float path; zero in double
};

/// \throws std::invalid_argument  unless the extents of Q, K, V, masks and biases agree.
void check(const attention_call& call);

/// Softmax attention with the standard policies: soft cap, bias, and the masks above.
template <class T>
attention_answer run(const mode& m, const attention_call& call);
extern template attention_answer run<float>(const mode&, const attention_call&);
extern template attention_answer run<double>(const mode&, const attention_call&);

inline attention_answer run(const mode& m, const attention_call& call) {
  return m.single_precision ? run<float>(m, call) : run<double>(m, call);
}

namespace detail {

/// Adds the gradients of some heads of a batch; what stands for several of them gets their sum.
template <class T>
void add_gradients(attention_answer& answer, const head_answer<T>& r, const head_problem<T>& p,
                   index batch, index head, index kv_head) {
  const auto add = [&](grid& to, const matrix<T>& X, index first, index count) {
    const index cols = X.cols() / count;
    for (index k = 0; k < count; ++k)
      to.add_head<T>(batch, first + k, matrix<T>(X.middleCols(k * cols, cols)));
  };
  add(answer.dQ, r.gradients.dQ, head, p.query_heads);
  add(answer.dK, r.gradients.dK, kv_head, p.kv_heads);
  add(answer.dV, r.gradients.dV, kv_head, p.kv_heads);
  grid& B = answer.dbias;
  for (index k = 0; !B.values.empty() && k < p.query_heads; ++k) {
    const matrix<T>& dS = r.dS[static_cast<std::size_t>(k)];
    for (index i = 0; i < dS.rows(); ++i)
      for (index j = 0; j < dS.cols(); ++j)
        B.slice(batch, head + k)[(B.rows == 1 ? 0 : i) * B.cols + (B.cols == 1 ? 0 : j)] +=
            double(dS(i, j));
  }
}

}  // namespace detail

/// Walks a call: `solve(problem, batch, head)` is asked for a head_answer for all heads of a batch
/// (head = 0), or for each head where masks or biases differ between them.
template <class T, class Solve>
attention_answer for_each_problem(const mode& m, const attention_call& call, const Solve& solve) {
  check(call);
  const grid &Q = call.Q, &K = call.K, &V = call.V;
  attention_answer answer;
  answer.output = grid::zeros(Q.batches, Q.heads, Q.rows, V.cols);
  answer.log_sum_exp = grid::zeros(Q.batches, Q.heads, Q.rows, 1);
  if (call.wants_weights) answer.weights = grid::zeros(Q.batches, Q.heads, Q.rows, K.rows);
  const bool split = call.per_head(), back = call.dO && !m.single_precision;
  const auto like = [](const grid& g) { return grid::zeros(g.batches, g.heads, g.rows, g.cols); };
  if (back) {
    answer.dQ = like(Q);
    answer.dK = like(K);
    answer.dV = like(V);
    if (call.bias) answer.dbias = like(*call.bias);
  }
  for (index b = 0; b < Q.batches; ++b) {
    for (index h = 0; h < (split ? Q.heads : 1); ++h) {
      const index kv = h / (Q.heads / K.heads);
      head_problem<T> p;
      p.Q = split ? Q.head<T>(b, h) : Q.packed<T>(b);
      p.K = split ? K.head<T>(b, kv) : K.packed<T>(b);
      p.V = split ? V.head<T>(b, kv) : V.packed<T>(b);
      p.query_heads = split ? 1 : Q.heads;
      p.kv_heads = split ? 1 : K.heads;
      p.scale = call.scale;
      p.wants_weights = call.wants_weights;
      if (back) p.dO = split ? call.dO->head<T>(b, h) : call.dO->packed<T>(b);
      const head_answer<T> r = solve(p, b, h);
      for (index k = 0; k < p.query_heads; ++k) {
        answer.output.set_head<T>(b, h + k, r.output.middleCols(k * V.cols, V.cols));
        answer.log_sum_exp.set_head<T>(b, h + k, r.log_sum_exp.col(k));
        if (call.wants_weights)
          answer.weights.set_head<T>(b, h + k, r.weights[static_cast<std::size_t>(k)]);
      }
      if (back) detail::add_gradients(answer, r, p, b, h, kv);
      if (m.single_precision) answer.bounds = worst(answer.bounds, p.bounds());
    }
  }
  return answer;
}

}  // namespace conformance
