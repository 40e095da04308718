#pragma once

#include <vector>

#include "softlook/detail/dispatch.hpp"
#include "softlook/detail/forward_call.hpp"
#include "softlook/detail/materialised.hpp"
#include "softlook/detail/plan.hpp"
#include "softlook/detail/tasks.hpp"

// From a checked call to tasks: plan, share out scratch, run. Compiled once for a scalar
// type; policies and executor come as functions.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

inline constexpr double log2_e = 1.44269504088896340736;

template <class T>
[[nodiscard]] call_shape shape_of(const forward_call<T>& c) {
  return {.queries = c.Q.rows,
          .keys = c.K.rows,
          .features = c.query_features(),
          .values = c.values(),
          .query_heads = c.query_heads,
          .kv_heads = c.kv_heads,
          .additive = c.score.additive,
          .scalar_bytes = index(sizeof(T)),
          .prepared = c.prepared != nullptr};
}

/// The arguments of one query head. log2 e goes into the scale, or behind the transforms, which see
/// scores in natural units.
template <bool Additive, class T>
[[nodiscard]] forward_args<T, Additive> args_of_head(const forward_call<T>& c, double scale,
                                                     const plan& p, const T* v, index head) {
  const index kv_head = head == 0 ? 0 : head / c.group();
  forward_args<T, Additive> a;
  a.Q = c.Q.columns(head * c.query_features(), c.query_features());
  a.K = c.K.columns(kv_head * c.key_features(), c.key_features());
  a.V = c.V.columns(kv_head * c.values(), c.values());
  a.O = c.O.columns(head * c.values(), c.values());
  if (c.log_sum_exp.data) {
    a.log_sum_exp = &c.log_sum_exp(0, head);
    a.log_sum_exp_stride = c.log_sum_exp.row_stride;
  }
  a.shape = c.shape(head);
  a.v = {v, 1, c.score.v.cols, 1, 1};
  a.query_scale = T(c.policy.transforms ? scale : scale * log2_e);
  a.factor = T(c.policy.transforms ? log2_e : 1.0);
  a.layout = p.tiled;
  a.policy = c.policy;
  return a;
}

/// A plan, and what it takes: scalars of scratch for each worker, and for all together.
struct planned_run {
  plan chosen;
  index chunks = 1;          // few queries: of the keys
  index groups_at_once = 1;  // few queries: whose partial states are held
  index tasks = 0;
  index workers = 0;
  index each = 0;
  index partials = 0;
};

template <class T>
[[nodiscard]] planned_run plan_run(const forward_call<T>& c, const register_shape& registers,
                                   index concurrency) {
  call_shape shape = shape_of(c);
  if (c.score.project_queries) shape.features = c.score.project_queries->cols;
  if (c.score.joined) ++shape.features;
  planned_run run;
  run.chosen = plan_for(shape, registers, c.opts, concurrency);
  const plan& p = run.chosen;
  if (p.kernel == kernel::tiled) {
    run.tasks = ceil_div(c.Q.rows, p.tiled.query_tiles * registers.width()) * c.query_heads;
    run.each = p.tiled.total;
  } else if (p.kernel == kernel::few_queries) {
    run.chunks = std::max<index>(ceil_div(c.K.rows, p.chunk), 1);
    const index groups = ceil_div(c.Q.rows * c.group(), p.few.rows) * c.kv_heads;
    const index room = scratch_limit / index(sizeof(T)), partial = run.chunks * p.few.partial;
    run.groups_at_once =
        groups * partial <= room ? std::max<index>(groups, 1) : std::max<index>(room / partial, 1);
    run.tasks = run.groups_at_once * run.chunks;
    run.each = p.few.total;
    run.partials = run.groups_at_once * run.chunks * p.few.partial;
  }
  run.workers = std::min(concurrency, run.tasks);
  return run;
}

template <bool Additive, class T>
void run_tiled(const forward_call<T>& c, const kernel_table<T, Additive>& kernels,
               const executor_ref& exec, double scale, const plan& p, const T* v, T* scratch) {
  const index step = p.tiled.query_tiles * kernels.shape.width();
  const index blocks = ceil_div(c.Q.rows, step);
  run_tasks(exec, blocks * c.query_heads, [&](index task, index worker) {
    // The last queries first: under a causal mask they are the longest.
    const index head = quotient(task, blocks), block = blocks - 1 - (task - head * blocks);
    const range queries{block * step, std::min((block + 1) * step, c.Q.rows)};
    kernels.tiled_forward(args_of_head<Additive>(c, scale, p, v, head), queries,
                          scratch + worker * p.tiled.total);
  });
}

/// Groups of rows that share keys and values, times chunks of keys; as many groups at a time as
/// keep the partial states within the limit of one worker's scratch.
template <bool Additive, class T>
void run_few_queries(const forward_call<T>& c, const kernel_table<T, Additive>& kernels,
                     const executor_ref& exec, double scale, const planned_run& run, const T* v,
                     T* scratch) {
  const plan& p = run.chosen;
  const index rows = c.Q.rows * c.group(), chunks = run.chunks;
  const index groups_at_once = run.groups_at_once;
  T* const partials = scratch + run.workers * run.each;
  const index groups_per_head = ceil_div(rows, p.few.rows), groups = groups_per_head * c.kv_heads;
  const auto args_of_group = [&](index group) {
    few_args<T, Additive> f;
    const index kv_head = quotient(group, groups_per_head);
    f.head = args_of_head<Additive>(c, scale, p, v, kv_head * c.group());
    f.head_stride_Q = c.query_features() * c.Q.col_stride;
    f.head_stride_O = c.values() * c.O.col_stride;
    f.head_stride_log_sum_exp = c.log_sum_exp.col_stride;
    const index first = (group - kv_head * groups_per_head) * p.few.rows;
    f.rows = {first, std::min(first + p.few.rows, rows)};
    f.layout = p.few;
    f.prepared = c.prepared;
    f.prepared_at = c.prepared_at;
    f.weights = c.weights.data;
    f.weights_stride = c.weights.row_stride;
    return f;
  };
  for (index from = 0; from < groups; from += groups_at_once) {
    const index count = std::min(groups_at_once, groups - from);
    const few_args<T, Additive> first = args_of_group(from);  // often the only one
    run_tasks(exec, count * chunks, [&](index task, index worker) {
      const index group = quotient(task, chunks), chunk = task - group * chunks;
      const range keys{chunk * p.chunk, std::min((chunk + 1) * p.chunk, c.K.rows)};
      kernels.few_queries(group == 0 ? first : args_of_group(from + group), keys,
                          partials + task * p.few.partial, scratch + worker * p.few.total);
    });
    for (index g = 0; g < count; ++g)
      kernels.merge_chunks(g == 0 ? first : args_of_group(from + g),
                           partials + g * chunks * p.few.partial, chunks);
  }
}

/// Raw scores of one head, everything materialised.
template <class T>
[[nodiscard]] row_major<T> naive_scores(const forward_call<T>& c, double scale, index head) {
  const auto a = args_of_head<false>(c, scale, plan{}, c.score.v.data, head);
  return materialised_scores(a.Q, a.K, c.score, T(scale));
}

/// Weights of one head; output and log-sum-exp are written where the call has room for them.
template <class T>
row_major<T> naive_head(const forward_call<T>& c, double scale, index head) {
  const auto a = args_of_head<false>(c, scale, plan{}, c.score.v.data, head);
  row_major<T> S = naive_scores(c, scale, head);
  c.policy.edit_matrix(c.policy.policies, {S.data(), S.rows(), S.cols(), S.cols(), 1}, a.shape,
                       true);
  row_major<T> P = S;
  Eigen::Matrix<T, Eigen::Dynamic, 1> log_sum_exp(S.rows());
  softmax_rows(P, log_sum_exp);
  if (a.O.rows > 0) weighted_sum(P, S, a.V, a.O);
  if (a.log_sum_exp)
    for (index i = 0; i < S.rows(); ++i) a.log_sum_exp[i * a.log_sum_exp_stride] = log_sum_exp[i];
  return P;
}

/// Projects, then calls f(call, scale).
template <class T, class F>
auto with_projections(forward_call<T> c, const executor_ref& exec, const F& f) {
  const double scale = c.scale();
  call_memory memory(c.opts.workspace);
  T* const start = memory.take<T>(sizes_of_projections(c).total());
  if (c.project) c.project(c, exec, start);
  return f(c, scale);
}

/// The weights of every query head.
template <class T>
[[nodiscard]] std::vector<row_major<T>> run_weights(const forward_call<T>& c,
                                                    const executor_ref& exec) {
  std::vector<row_major<T>> weights(std::size_t(c.query_heads));
  with_projections(c, exec, [&](const forward_call<T>& projected, double scale) {
    run_tasks(exec, c.query_heads, [&](index head, index) {
      weights[std::size_t(head)] = naive_head(projected, scale, head);
    });
  });
  return weights;
}

template <class T>
[[nodiscard]] row_major<T> run_raw_scores(const forward_call<T>& c, const executor_ref& exec) {
  return with_projections(c, exec, [&](const forward_call<T>& projected, double scale) {
    return naive_scores(projected, scale, 0);
  });
}

template <class T>
void run_naive(const forward_call<T>& c, const executor_ref& exec) {
  if (c.Q.rows == 0) return;
  with_projections(c, exec, [&](const forward_call<T>& projected, double scale) {
    run_tasks(exec, c.query_heads, [&](index head, index) {
      const row_major<T> P = naive_head(projected, scale, head);
      for (index i = 0; i < c.weights.rows; ++i)
        for (index j = 0; j < P.cols(); ++j) c.weights(i, j) = P(i, j);
    });
  });
}

/// Runs a checked call that does not ask for the naive kernel.
template <bool Additive, class T>
void run_forward(forward_call<T> c, const executor_ref& exec) {
  if (c.Q.rows == 0) return;
  const kernel_table<T, Additive>& kernels = kernels_of<T, Additive>(c.isa);
  const double scale = c.scale();
  const projection_sizes projected = sizes_of_projections(c);
  const planned_run run = plan_run(c, kernels.shape, exec.concurrency);

  call_memory memory(c.opts.workspace);
  T* const start = memory.take<T>(projected.total() + run.workers * run.each + run.partials);
  if (c.project) c.project(c, exec, start);
  T* const v = start + projected.total() - projected.v;
  const T v_scale = T(c.policy.transforms ? scale : scale * log2_e);
  for (index k = 0; k < c.score.v.cols; ++k) v[k] = c.score.v(0, k) * v_scale;
  if constexpr (Additive) kernels.prepare_weights(v, c.score.v.cols);
  T* const scratch = v + projected.v;
  if (run.chosen.kernel == kernel::tiled)
    run_tiled(c, kernels, exec, scale, run.chosen, v, scratch);
  else
    run_few_queries(c, kernels, exec, scale, run, v, scratch);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END

#if SOFTLOOK_USES_COMPILED
SOFTLOOK_NAMESPACE_BEGIN
namespace detail {
SOFTLOOK_INSTANTIATE_FORWARD(extern, float)
SOFTLOOK_INSTANTIATE_FORWARD(extern, double)
SOFTLOOK_INSTANTIATE_ADDITIVE(extern, float)
SOFTLOOK_INSTANTIATE_ADDITIVE(extern, double)
SOFTLOOK_INSTANTIATE_NAIVE(extern, float)
SOFTLOOK_INSTANTIATE_NAIVE(extern, double)
}  // namespace detail
SOFTLOOK_NAMESPACE_END
#endif
