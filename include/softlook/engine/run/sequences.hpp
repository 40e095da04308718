#pragma once

#include <algorithm>

#include "softlook/engine/run/run_attention.hpp"

// Several sequences in one call: their tasks are shared out together. Each is planned by itself,
// and gets the bits of a call of its own.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// The inputs of one sequence, of those of all.
template <class T>
[[nodiscard]] running_call<T> running_sequence(const running_call<T>& all,
                                               const attention_call<T>& part, index s) {
  const call_sequences& in = all.call.sequences;
  const bool made = all.call.inputs != nullptr;  // one matrix, sequence behind sequence
  const range keys = all.call.keys_of_sequence(s);
  running_call<T> run{part, all.inputs, all.v, all.scale};
  run.inputs.Q = rows_of_sequence(all.inputs.Q, s, in.queries_of(s), made ? adjacent : in.apart.Q);
  run.inputs.K = rows_of_sequence(all.inputs.K, s, keys, made ? adjacent : in.apart.K);
  run.inputs.key_rows =
      rows_of_sequence(all.inputs.key_rows, s, keys, made ? adjacent : in.apart.K);
  return run;
}

/// Rows behind the length of a sequence: zeros, −∞.
template <class T>
void clear_padding(const attention_call<T>& c) {
  const call_sequences& in = c.sequences;
  if (!in.query_lengths) return;
  for (index s = 0; s < in.count; ++s) {
    const range all{s * in.queries, (s + 1) * in.queries};
    const auto O = rows_of_sequence(c.O, s, all, in.apart.O);
    const auto L = rows_of_sequence(c.log_sum_exp, s, all, in.apart.log_sum_exp);
    for (index head = 0; head < c.query_heads; ++head) {
      const auto O_h = columns_of_head(O, head, c.values(), c.heads_apart.O);
      const auto L_h = columns_of_head(L, head, 1, c.heads_apart.log_sum_exp);
      for (index i = in.query_lengths[s]; i < in.queries; ++i) {
        for (index x = 0; x < O_h.cols; ++x) O_h(i, x) = T(0);
        if (L.data) L_h(i, 0) = -std::numeric_limits<T>::infinity();
      }
    }
  }
}

/// What a task of a batch is: a task of one of its sequences.
struct sequence_task {
  index first = 0;     // of the tasks of all
  index partials = 0;  // where the states of its chunks are
};

/// The sequences from `first` on whose partial states fit the room, with their tasks.
struct sequence_wave {
  index end = 0;
  index tasks = 0;
  index partials = 0;
  index each = 0;
};

/// One group of rows with one chunk of keys; what is left once all chunks are done.
template <bool Additive, class T>
void few_task(const running_call<T>& run, const planned_run& planned, index task, T* states,
              T* scratch) {
  const index group = quotient(task, planned.chunks), chunk = task - group * planned.chunks;
  few_kernels_of<T, Additive>(run.call.isa)
      .few_queries(few_args_of<Additive>(run, planned, group), chunk_of(run.call, planned, chunk),
                   states + task * planned.chosen.few.partial, scratch);
}
template <bool Additive, class T>
void few_merge(const running_call<T>& run, const planned_run& planned, index group, T* states) {
  few_kernels_of<T, Additive>(run.call.isa)
      .merge_chunks(few_args_of<Additive>(run, planned, group),
                    states + group * planned.chunks * planned.chosen.few.partial, planned.chunks);
}

/// Runs a checked call of several sequences.
template <bool Additive, reach Reach, class T>
void run_sequences(const attention_call<T>& c) {
  const index count = c.sequences.count;
  clear_padding(c);
  if (count == 0 || c.Q.rows == 0) return;
  if (count == 1) return run_forward<Additive, Reach>(sequence_of(c, 0));
  const register_shape registers = shape_of(c);
  // Of many sequences each need not be cut for all workers.
  attention_call<T> planned_as = c;
  if (count >= 4 * c.exec.concurrency) planned_as.exec.concurrency = 1;
  const auto plan_of = [&](index s, attention_call<T>& part) {
    part = sequence_of(planned_as, s);
    planned_run run = plan_run<Reach>(part, registers);
    if (part.Q.rows == 0) run.tasks = run.partials = 0;
    return run;
  };
  const index room = c.exec.concurrency * (scratch_limit / index(sizeof(T)));
  attention_call<T> scratch_part;
  index each = 0, partials = 0;
  // The largest wave decides the scratch.
  const auto wave_from = [&](index first, sequence_task* tasks) {
    sequence_wave wave{.end = first};
    for (; wave.end < count; ++wave.end) {
      const planned_run run = plan_of(wave.end, scratch_part);
      if (wave.partials > 0 && wave.partials + run.partials > room) break;
      if (tasks) tasks[wave.end - first] = {wave.tasks, wave.partials};
      wave.tasks += run.chosen.kernel == kernel::tiled
                        ? run.tasks
                        : groups_of_few(scratch_part, run) * run.chunks;
      wave.partials += run.chosen.kernel == kernel::tiled
                           ? 0
                           : groups_of_few(scratch_part, run) * run.chunks * run.chosen.few.partial;
      wave.each = std::max(wave.each, run.each);
    }
    return wave;
  };
  for (index first = 0; first < count;) {
    const sequence_wave wave = wave_from(first, nullptr);
    each = std::max(each, wave.each);
    partials = std::max(partials, wave.partials);
    first = wave.end;
  }
  const input_sizes sizes = sizes_of_inputs(c);
  const index workers = c.exec.concurrency;
  const index listed = ceil_div((count + 1) * index(sizeof(sequence_task)), index(sizeof(T)));
  call_scratch arena(c.opts.workspace);
  T* const start =
      arena.template take<T>(sizes.total() + round_up(listed, 16) + workers * each + partials);
  T* const v = start + sizes.total() - sizes.v;
  const running_call<T> all{c, inputs_of(c, start), v};
  make_score_vector<Additive>(c, all.score_scale(), v);
  auto* const tasks = reinterpret_cast<sequence_task*>(start + sizes.total());
  T* const scratch = start + sizes.total() + round_up(listed, 16);
  T* const states = scratch + workers * each;

  for (index first = 0; first < count;) {
    const sequence_wave wave = wave_from(first, tasks);
    const index sequences = wave.end - first;
    run_tasks(c.exec, wave.tasks, [&](index task, index worker) {
      const sequence_task* const at =
          std::upper_bound(tasks, tasks + sequences, task,
                           [](index t, const sequence_task& x) { return t < x.first; }) -
          1;
      attention_call<T> part;
      const planned_run run = plan_of(first + (at - tasks), part);
      const running_call<T> running = running_sequence(all, part, first + (at - tasks));
      if (run.chosen.kernel == kernel::tiled)
        tiled_task<Additive>(running, registers, run.chosen, task - at->first,
                             scratch + worker * each);
      else
        few_task<Additive>(running, run, task - at->first, states + at->partials,
                           scratch + worker * each);
    });
    if (wave.partials > 0)
      run_tasks(c.exec, sequences, [&](index s, index) {
        attention_call<T> part;
        const planned_run run = plan_of(first + s, part);
        if (run.chosen.kernel == kernel::tiled || part.Q.rows == 0) return;
        const running_call<T> running = running_sequence(all, part, first + s);
        for (index group = 0; group < groups_of_few(part, run); ++group)
          few_merge<Additive>(running, run, group, states + tasks[s].partials);
      });
    first = wave.end;
  }
}

/// The same by the naive kernel.
template <bool Additive, class T>
void run_naive_sequences(const attention_call<T>& c) {
  clear_padding(c);
  for (index s = 0; s < c.sequences.count; ++s) run_naive<Additive>(sequence_of(c, s));
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END

#if SOFTLOOK_USES_COMPILED
SOFTLOOK_NAMESPACE_BEGIN
namespace detail {
SOFTLOOK_INSTANTIATE_SEQUENCES(extern, float)
SOFTLOOK_INSTANTIATE_SEQUENCES(extern, double)
}  // namespace detail
SOFTLOOK_NAMESPACE_END
#endif
