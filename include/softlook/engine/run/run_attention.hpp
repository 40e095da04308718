#pragma once

#include <vector>

#include "softlook/engine/kernels/dispatch.hpp"
#include "softlook/engine/run/materialised.hpp"
#include "softlook/engine/run/plan.hpp"
#include "softlook/engine/run/score_inputs.hpp"
#include "softlook/engine/run/shown_weights.hpp"
#include "softlook/engine/run/single_query.hpp"
#include "softlook/engine/run/sinks.hpp"
#include "softlook/engine/run/small.hpp"
#include "softlook/engine/run/tasks.hpp"

// From a checked call to tasks: plan, share out scratch, run. Compiled once for a scalar
// type; policies and executor come as functions.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template <class T>
[[nodiscard]] call_sizes sizes_of(const attention_call<T>& c) {
  return {.queries = c.Q.rows,
          .keys = c.K.rows,
          .features = features_of_inputs(c),
          .values = c.values(),
          .query_heads = c.query_heads,
          .kv_heads = c.kv_heads,
          .additive = c.score.additive,
          .scalar_bytes = index(sizeof(T)),
          .keys_packed = c.packed != nullptr};
}

/// A call whose inputs are made: what its tasks are told.
template <class T>
struct running_call {
  const attention_call<T>& call;
  score_inputs<T> inputs;
  const T* v;  // additive: scaled, and what depends on it
  double scale = call.scale();

  /// log4 e goes into the scale, or behind the transforms, which see scores in natural units.
  [[nodiscard]] T score_scale() const { return T(call.policy.transform ? scale : scale * log4_e); }

  /// The arguments of one query head.
  template <bool Additive>
  [[nodiscard]] forward_args<T, Additive> args_of_head(const tiled_layout& layout,
                                                       index head) const {
    const attention_call<T>& c = call;
    const index kv_head = head == 0 ? 0 : head / c.group();
    const index d_q = c.shared(inputs.Q.cols, c.query_heads);
    const index d_k = c.shared(inputs.K.cols, c.kv_heads);
    forward_args<T, Additive> a;
    a.Q = columns_of_head(inputs.Q, head, d_q, inputs.query_heads_apart);
    a.keys = columns_of_head(inputs.key_rows, kv_head, d_k, inputs.key_heads_apart);
    a.values = columns_of_head(c.value_rows, kv_head, c.values(), c.heads_apart.V);
    a.O = columns_of_head(c.O, head, c.values(), c.heads_apart.O);
    if (c.log_sum_exp.data) {
      a.log_sum_exp = columns_of_head(c.log_sum_exp, head, 1, c.heads_apart.log_sum_exp).data;
      a.log_sum_exp_stride = c.log_sum_exp.row_stride;
    }
    a.whole = c.problem_of(head);
    a.frame = &c.frame;
    a.policy = &c.policy;
    a.v = {v, 1, c.score.v.cols, 1, 1};
    a.query_scale = score_scale();
    a.score_unit = T(c.policy.transform ? log4_e : 1.0);
    a.layout = layout;
    return a;
  }
};

/// v of additive scores times a scale, and behind it what depends on it alone.
template <bool Additive, class T>
void make_score_vector(const attention_call<T>& c, T scale, T* v) {
  for (index k = 0; k < c.score.v.cols; ++k) v[k] = c.score.v(0, k) * scale;
  if constexpr (Additive) score_vector_preparation_of<T>(c.isa)(v, c.score.v.cols);
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

/// Bytes of the second-level cache, asked once. Where the processor does not say it is small.
inline index second_level_cache() {
  static const index bytes = std::max<index>(Eigen::l2CacheSize(), index{256} << 10);
  return bytes;
}

/// What the kernels of a call work on.
template <class T>
[[nodiscard]] register_shape shape_of(const attention_call<T>& c) {
  register_shape shape = registers_of<T>(c.isa);
  if (c.rounded.kernel) shape.rows = c.rounded.rows;
  return shape;
}

template <reach Reach = reach::any, class T>
[[nodiscard]] planned_run plan_run(const attention_call<T>& c, const register_shape& registers) {
  const index concurrency = c.exec.concurrency;
  planned_run run;
  run.chosen = plan_for<Reach>(sizes_of(c), registers, c.opts, concurrency, second_level_cache());
  plan& p = run.chosen;
  if (Reach != reach::few_queries && p.kernel == kernel::tiled) {
    if (c.rounded.kernel)
      p.tiled.total += c.rounded.scratch_size(features_of_inputs(c), c.values(), p.tiled);
    run.tasks = ceil_div(c.Q.rows, p.tiled.query_tiles * registers.width()) * c.query_heads;
    run.each = p.tiled.total;
  } else if (Reach != reach::tiled && p.kernel == kernel::few_queries) {
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

/// A block of queries of one head.
template <bool Additive, class T>
void tiled_task(const running_call<T>& run, const register_shape& registers, const plan& p,
                index task, T* scratch) {
  const attention_call<T>& c = run.call;
  const index step = p.tiled.query_tiles * registers.width();
  const index blocks = ceil_div(c.Q.rows, step);
  // The last queries first: under a causal mask they are the longest.
  const index head = quotient(task, blocks), block = blocks - 1 - (task - head * blocks);
  const range queries{block * step, std::min((block + 1) * step, c.Q.rows)};
  const auto args = run.template args_of_head<Additive>(p.tiled, head);
  if constexpr (!Additive)
    if (c.rounded.kernel) return c.rounded.kernel(args, queries, scratch);
  tiled_kernel_of<T, Additive>(c.isa)(args, queries, scratch);
}

template <bool Additive, class T>
void run_tiled(const running_call<T>& run, const register_shape& registers,
               const planned_run& planned, T* scratch) {
  const plan& p = planned.chosen;
  run_tasks(run.call.exec, planned.tasks, [&](index task, index worker) {
    tiled_task<Additive>(run, registers, p, task, scratch + worker * p.tiled.total);
  });
}

/// Groups of rows that share a head of keys and values.
template <class T>
[[nodiscard]] index groups_of_few(const attention_call<T>& c, const planned_run& planned) {
  return ceil_div(c.Q.rows * c.group(), planned.chosen.few.rows) * c.kv_heads;
}

template <bool Additive, class T>
[[nodiscard]] few_args<T, Additive> few_args_of(const running_call<T>& run,
                                                const planned_run& planned, index group) {
  const attention_call<T>& c = run.call;
  const plan& p = planned.chosen;
  const index rows = c.Q.rows * c.group(), groups_per_head = ceil_div(rows, p.few.rows);
  const auto apart = [](index given, index beside) { return given != adjacent ? given : beside; };
  const index kv_head = quotient(group, groups_per_head);
  few_args<T, Additive> f;
  f.head = run.template args_of_head<Additive>(p.tiled, kv_head * c.group());
  f.head_stride_Q = apart(run.inputs.query_heads_apart, f.head.Q.cols * f.head.Q.col_stride);
  f.head_stride_O = apart(c.heads_apart.O, c.values() * c.O.col_stride);
  f.head_stride_log_sum_exp = apart(c.heads_apart.log_sum_exp, c.log_sum_exp.col_stride);
  const index first = (group - kv_head * groups_per_head) * p.few.rows;
  f.rows = {first, std::min(first + p.few.rows, rows)};
  f.layout = p.few;
  f.packed = c.packed;
  f.packed_at = c.packed_at;
  f.weights = c.weights.data;
  f.weights_stride = c.weights.row_stride;
  return f;
}

/// Keys of a chunk.
template <class T>
[[nodiscard]] range chunk_of(const attention_call<T>& c, const planned_run& planned, index chunk) {
  const index keys = planned.chosen.chunk;
  return {chunk * keys, std::min((chunk + 1) * keys, c.K.rows)};
}

/// Groups of rows that share keys and values, times chunks of keys; as many groups at a time as
/// keep the partial states within the limit of one worker's scratch.
template <bool Additive, class T>
void run_few_queries(const running_call<T>& run, const planned_run& planned, T* scratch) {
  const attention_call<T>& c = run.call;
  const few_kernels<T, Additive>& kernels = few_kernels_of<T, Additive>(c.isa);
  const few_layout& at = planned.chosen.few;
  const index chunks = planned.chunks, groups = groups_of_few(c, planned);
  T* const partials = scratch + planned.workers * planned.each;
  for (index from = 0; from < groups; from += planned.groups_at_once) {
    const index count = std::min(planned.groups_at_once, groups - from);
    // Often the only one.
    const few_args<T, Additive> first = few_args_of<Additive>(run, planned, from);
    const auto with_args = [&](index group, const auto& f) {
      if (group == 0)
        f(first);
      else
        f(few_args_of<Additive>(run, planned, from + group));
    };
    run_tasks(c.exec, count * chunks, [&](index task, index worker) {
      const index group = quotient(task, chunks), chunk = task - group * chunks;
      with_args(group, [&](const few_args<T, Additive>& f) {
        kernels.few_queries(f, chunk_of(c, planned, chunk), partials + task * at.partial,
                            scratch + worker * at.total);
      });
    });
    for (index g = 0; g < count; ++g)
      with_args(g, [&](const few_args<T, Additive>& f) {
        kernels.merge_chunks(f, partials + g * chunks * at.partial, chunks);
      });
  }
}

/// f(a running call) between its steps and the end of their scratch.
template <class T, class F>
auto with_inputs(const attention_call<T>& c, const F& f) {
  call_scratch scratch(c.opts.workspace);
  T* const start = scratch.template take<T>(sizes_of_inputs(c).total());
  return f(running_call<T>{c, inputs_of(c, start), c.score.v.data});
}

/// scale · scores of one head: of the naive kernel, or to be shown.
template <bool Additive, bool Naive, class T>
[[nodiscard]] row_major<T> scores_of_head(const running_call<T>& run, index head) {
  const attention_call<T>& c = run.call;
  const index d_q = run.inputs.Q.cols / c.query_heads, d_k = run.inputs.K.cols / c.kv_heads;
  const matrix_view<T> Q = columns_of_head(run.inputs.Q, head, d_q, run.inputs.query_heads_apart);
  const matrix_view<T> K =
      columns_of_head(run.inputs.K, head / c.group(), d_k, run.inputs.key_heads_apart);
  if constexpr (Naive)
    return materialised_scores<Additive>(Q, K, c.score, T(run.scale));
  else if constexpr (Additive)
    return shown_additive(Q, K, c.score.v, T(run.scale));
  else
    return shown_dots(Q, K, T(run.scale), c.isa);
}

template <class T>
[[nodiscard]] mutable_matrix_view<T> view_of_scores(row_major<T>& S) {
  return {S.data(), S.rows(), S.cols(), S.cols(), 1};
}

/// Transforms and masks the scores of a head, or of some of its rows, which `frame` places.
template <class T>
void edit_scores(const attention_call<T>& c, const call_frame& frame, index head, row_major<T>& S) {
  transform_matrix(c.policy, frame, c.problem_of(head), view_of_scores(S));
  mask_matrix(c.policy, frame, c.problem_of(head), view_of_scores(S));
}

/// Scores of some rows of the first head, transformed and masked.
template <class T>
[[nodiscard]] row_major<T> masked_scores(const running_call<T>& run, range rows) {
  const attention_call<T>& c = run.call;
  row_major<T> S = materialised_scores(run.inputs.Q.rows_from(rows.begin, rows.count()),
                                       run.inputs.K, c.score, T(run.scale));
  edit_scores(c, c.frame.from_row(rows.begin), 0, S);
  return S;
}

/// The part of a call without limits that holds some of its queries and keys.
template <class T>
[[nodiscard]] attention_call<T> part_of(const attention_call<T>& c, range rows, range keys) {
  attention_call<T> part = c;
  part.Q = c.Q.rows_from(rows.begin, rows.count());
  part.K = c.K.rows_from(keys.begin, keys.count());
  part.V = c.V.rows_from(keys.begin, keys.count());
  part.key_rows = part.value_rows = {};  // the materialised path reads K and V themselves
  const call_frame& f = c.frame;
  part.frame = f.from_row(rows.begin);
  const auto end = [](index first, index count, index stride) {
    return first + call_frame::span(count, stride);
  };
  if (!f.query_positions)
    part.frame.later_queries += end(f.first_query, c.Q.rows, f.query_stride) -
                                end(part.frame.first_query, rows.count(), f.query_stride);
  part.frame.first_key = f.key(keys.begin);
  part.frame.later_keys += end(f.first_key, c.K.rows, f.key_stride) -
                           end(part.frame.first_key, keys.count(), f.key_stride);
  return part;
}

/// A sink joins the rows of a head.
template <class T>
void join_sink_of_rows(double sink, row_major<T>& P, Eigen::Matrix<T, Eigen::Dynamic, 1>& L) {
  for (index i = 0; i < P.rows(); ++i) {
    const joined_row row = join_sink(L[i], sink);
    for (index j = 0; j < P.cols(); ++j) P(i, j) *= T(row.share);
    L[i] = T(row.log_sum_exp);
  }
}

/// Edits weights of a head, as dropout does.
template <class T>
void edit_weights(const attention_call<T>& c, index head, row_major<T>& P) {
  for (index i = 0; i < P.rows(); ++i)
    c.policy.weight.edit_row(c.policy.weight.state, P.data() + i * P.cols(), P.cols(),
                             std::int32_t(c.frame.query(i)), c.frame, c.problem_of(head));
}

/// Weights of one head; output and log-sum-exp are written where the call has room for them.
template <bool Additive, class T>
row_major<T> naive_head(const running_call<T>& run, index head) {
  const attention_call<T>& c = run.call;
  const index e = c.values();
  row_major<T> S = scores_of_head<Additive, true>(run, head);
  edit_scores(c, c.frame, head, S);
  row_major<T> P = S;
  Eigen::Matrix<T, Eigen::Dynamic, 1> log_sum_exp(S.rows());
  softmax_rows(P, log_sum_exp);
  if (c.sinks.logits.data) join_sink_of_rows(c.sinks.logits(0, head), P, log_sum_exp);
  if (c.O.rows > 0) {
    const row_major<T> shown = P;
    if (c.policy.weight) edit_weights(c, head, P);
    weighted_sum(P, S, columns_of_head(c.V, head / c.group(), e, c.heads_apart.V),
                 columns_of_head(c.O, head, e, c.heads_apart.O));
    P = shown;
  }
  if (c.log_sum_exp.data) {
    const auto to = columns_of_head(c.log_sum_exp, head, 1, c.heads_apart.log_sum_exp);
    for (index i = 0; i < S.rows(); ++i) to(i, 0) = log_sum_exp[i];
  }
  return P;
}

/// f(running call, head) of every query head, a matrix each.
template <class T, class F>
[[nodiscard]] std::vector<row_major<T>> matrices_of_heads(const attention_call<T>& c, const F& f) {
  std::vector<row_major<T>> all(std::size_t(c.query_heads));
  with_inputs(c, [&](const running_call<T>& run) {
    run_tasks(c.exec, c.query_heads,
              [&](index head, index) { all[std::size_t(head)] = f(run, head); });
  });
  return all;
}

/// The weights of every query head, and what else the call has room for.
template <bool Additive, class T>
[[nodiscard]] std::vector<row_major<T>> run_stored(const attention_call<T>& c) {
  return matrices_of_heads(
      c, [](const running_call<T>& run, index head) { return naive_head<Additive>(run, head); });
}

/// scale · scores of every query head.
template <bool Additive, class T>
[[nodiscard]] std::vector<row_major<T>> run_raw_scores(const attention_call<T>& c) {
  return matrices_of_heads(c, [](const running_call<T>& run, index head) {
    return scores_of_head<Additive, false>(run, head);
  });
}

/// The weights of every query head, alone.
template <bool Additive, class T>
[[nodiscard]] std::vector<row_major<T>> run_weights(const attention_call<T>& c) {
  return matrices_of_heads(c, [](const running_call<T>& run, index head) {
    row_major<T> S = scores_of_head<Additive, false>(run, head);
    edit_scores(run.call, run.call.frame, head, S);
    const matrix_view<double>& sinks = run.call.sinks.logits;
    const T sink = sinks.data ? T(sinks(0, head)) : -std::numeric_limits<T>::infinity();
    const auto soften = softmax_of_rows<T>(run.call.isa);
    for (index i = 0; i < S.rows(); ++i) soften(S.data() + i * S.cols(), S.cols(), sink);
    return S;
  });
}

template <bool Additive, class T>
void run_naive(const attention_call<T>& c) {
  if (c.Q.rows == 0) return;
  with_inputs(c, [&](const running_call<T>& run) {
    run_tasks(c.exec, c.query_heads, [&](index head, index) {
      const row_major<T> P = naive_head<Additive>(run, head);
      for (index i = 0; i < c.weights.rows; ++i)
        for (index j = 0; j < P.cols(); ++j) c.weights(i, j) = P(i, j);
    });
  });
}

/// Runs a checked call that does not ask for the naive kernel.
template <bool Additive, reach Reach, class T>
void run_forward(const attention_call<T>& c) {
  if (c.Q.rows == 0) return;
  if constexpr (!Additive && Reach != reach::tiled)
    if (run_single_query(c)) return;
  const register_shape registers = shape_of(c);
  const input_sizes sizes = sizes_of_inputs(c);
  const planned_run planned = plan_run<Reach>(c, registers);

  call_scratch arena(c.opts.workspace);
  T* const start = arena.take<T>(sizes.total() + planned.workers * planned.each + planned.partials);
  T* const v = start + sizes.total() - sizes.v;
  const running_call<T> run{c, inputs_of(c, start), v};
  make_score_vector<Additive>(c, run.score_scale(), v);
  T* const scratch = v + sizes.v;
  const bool tiled = planned.chosen.kernel == kernel::tiled;
  if constexpr (Reach != reach::few_queries)
    if (tiled) run_tiled<Additive>(run, registers, planned, scratch);
  if constexpr (Reach != reach::tiled)
    if (!tiled) run_few_queries<Additive>(run, planned, scratch);
}

/// Runs a checked call.
template <class T>
void run(const attention_call<T>& c) {
  if (c.naive && c.opts.kernel == kernel::naive) return c.naive(c);
  return c.sinks.run ? c.sinks.run(c) : c.forward(c);
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
