#pragma once

#include <cmath>
#include <limits>

#include "softlook/engine/kernels/dispatch_backward.hpp"
#include "softlook/engine/run/latin_square.hpp"
#include "softlook/engine/run/run_attention.hpp"

// The way back through attention as tasks: blocks of queries meet blocks of keys like rows and
// columns of a Latin square, so no two tasks write the same rows at a time, every sum has one
// order, and no bit depends on who runs a task.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// What the way back is given besides a call, and what it gives.
template <class T>
struct backward_matrices {
  matrix_view<T> O;            // n×(heads·e)
  matrix_view<T> log_sum_exp;  // n×heads
  matrix_view<T> dO;
  matrix_view<T> dL;  // n×heads, or no data
  mutable_matrix_view<T> dQ, dK, dV;
  double* dsinks = nullptr;   // one for each query head
  mutable_matrix_view<T> dv;  // of additive scores, 1×a; or no data
  /// Who takes the gradients of the scores of a head; blocks of other keys may come at the same
  /// time.
  void* self = nullptr;
  void (*take)(void* self, index head, const score_gradient_block<T>&) = nullptr;
  index first_query = 0, first_key = 0;  // of a sequence
};

/// How the way back of a call is cut, by its shape and instruction set alone.
struct backward_plan {
  backward_layout layout;
  index query_step = 0;   // queries in a block of the kernel
  index query_block = 0;  // queries and keys in a block of the square
  index key_block = 0;
  index query_blocks = 0;  // of a head
  index key_blocks = 0;
};

[[nodiscard]] constexpr backward_layout backward_layout_for(const call_sizes& s,
                                                            const register_shape& r, index key_tile,
                                                            index query_tiles) {
  call_sizes walk = s;
  walk.values = s.features;
  backward_layout at;
  at.walk = tiled_layout_for(walk, r, key_tile, query_tiles);
  at.walk.score_tile = 0;
  at.lanes = s.queries <= r.width() ? round_up(std::max<index>(s.queries, 1), r.lanes)
                                    : query_tiles * r.width();
  const index stored = std::min(key_tile, round_up(std::max<index>(s.keys, 1), r.rows));
  layout_cursor cursor(64 / s.scalar_bytes);
  cursor.take(at.walk.total);
  at.outputs = cursor.take(at.lanes * s.values);
  at.value_panels = cursor.take(stored * s.values + r.lanes);
  at.products = cursor.take(stored * r.width());
  at.raw = cursor.take(stored * r.width());
  at.kept = cursor.take(stored * r.width());
  at.weights = cursor.take(stored * at.lanes);
  at.score_gradients = cursor.take(stored * at.lanes);
  at.query_rows = cursor.take(s.additive ? 0 : at.lanes * round_up(s.features, r.lanes));
  at.output_rows = cursor.take(at.lanes * round_up(s.values, r.lanes));
  at.logs = cursor.take(at.lanes);
  at.dots = cursor.take(at.lanes);
  at.ones = cursor.take(r.width());
  at.rows = cursor.take(r.width() * s.features);
  if (s.additive) {
    at.query_form = round_up(at.lanes * s.features + r.lanes, 64);
    at.query_panel = cursor.take(3 * at.query_form);
    at.query_sizes = cursor.take(at.lanes);
    at.keys = stored;
    at.key_exponentials = cursor.take(stored * s.features + r.lanes);
    at.key_sums = cursor.take(stored * s.features);
    at.factors = cursor.take(s.features);
  }
  at.total = cursor.total();
  return at;
}

[[nodiscard]] constexpr backward_plan plan_backward(const call_sizes& s, const register_shape& r) {
  backward_plan p;
  const index key_tile = key_tile_for(s, r);
  // Small enough that two workers share a head, large enough that what is packed for a task is used
  // often: queries once for all keys of a task, a tile of keys for its queries. Whole tiles of
  // short rows.
  p.query_block = 192;
  p.key_block = round_up(index{s.keys <= 1024 ? 192 : s.keys <= 4096 ? 384 : 768}, key_tile);
  const index most = std::max<index>(p.query_block / r.width(), 1);
  // What a step of queries uses, besides a tile of keys: half of a second-level cache, or all of a
  // small one. Of additive scores terms cost so much that it does not matter where their operands
  // come from.
  const index forms = s.additive ? 4 : 3;
  const index kib = s.additive || r.lanes * s.scalar_bytes == 64 ? 800 : 512;
  const index room = (kib << 10) / ((forms * s.features + 3 * s.values + 2 * key_tile) *
                                    s.scalar_bytes * r.width());
  const index fit = std::clamp<index>(room, 1, std::min<index>(most, max_query_tiles));
  const index tiles = ceil_div(most, ceil_div(most, fit));
  p.layout = backward_layout_for(s, r, key_tile, tiles);
  p.query_step = tiles * r.width();
  p.query_blocks = ceil_div(std::max<index>(s.queries, 1), p.query_block);
  p.key_blocks = ceil_div(std::max<index>(s.keys, 1), p.key_block);
  return p;
}

template <class T>
void clear(const mutable_matrix_view<T>& X) {
  for (index i = 0; i < X.rows; ++i)
    for (index c = 0; c < X.cols; ++c) X(i, c) = T(0);
}

/// The natural log-sum-exp in units of log 4, 0 where there is no key, and D of one head.
template <class T>
void make_row_numbers(const attention_call<T>& c, const backward_matrices<T>& b, index head,
                      T* logs, T* dots) {
  const index e = c.values();
  const matrix_view<T> O = columns_of_head(b.O, head, e, adjacent);
  const matrix_view<T> dO = columns_of_head(b.dO, head, e, adjacent);
  for (index i = 0; i < c.Q.rows; ++i) {
    const T L = b.log_sum_exp(i, head);
    logs[i] = L == -std::numeric_limits<T>::infinity() ? T(0) : T(double(L) * log4_e);
    T dot = 0;
    for (index x = 0; x < e; ++x) dot += O(i, x) * dO(i, x);
    dots[i] = b.dL.data ? dot - b.dL(i, head) : dot;
  }
}

/// dl/dsink = −Σ_i e^{sink − L_i} · D_i: a sink has a weight and no value.
template <class T>
[[nodiscard]] double sink_gradient(const attention_call<T>& c, const backward_matrices<T>& b,
                                   index head, const T* dots) {
  const double sink = c.sinks.logits(0, head);
  if (!std::isfinite(sink)) return 0;
  double sum = 0;
  for (index i = 0; i < c.Q.rows; ++i)
    sum -= std::exp(sink - double(b.log_sum_exp(i, head))) * double(dots[i]);
  return sum;
}

/// One block of queries of a head and one block of its keys.
template <bool Additive, class T>
void backward_task(const running_call<T>& run, const backward_plan& p,
                   const backward_matrices<T>& b, index head, range queries, range keys,
                   const T* logs, const T* dots, T* dv, T* scratch) {
  const attention_call<T>& c = run.call;
  const index kv_head = head / c.group(), e = c.values();
  backward_args<T, Additive> a;
  a.scores = run.template args_of_head<Additive>(p.layout.walk, head);
  const index d = a.scores.Q.cols;
  call_frame frame = c.frame;
  frame.first_key += keys.begin * frame.key_stride;
  frame.private_keys =
      std::max<index>(0, keys.end - std::max(keys.begin, c.frame.shared_keys(c.K.rows)));
  a.values = a.scores.values.rows_from(keys.begin, keys.count());
  a.scores.keys = a.scores.keys.rows_from(keys.begin, keys.count());
  a.scores.values = a.scores.keys;
  a.scores.O = {};
  a.scores.log_sum_exp = nullptr;
  a.scores.frame = &frame;
  a.dO = columns_of_head(b.dO, head, e, adjacent);
  a.log_sum_exp = logs;
  a.dots = dots;
  a.dQ = columns_of_head(b.dQ, head, d, adjacent);
  a.dK = columns_of_head(b.dK, kv_head, d, adjacent).rows_from(keys.begin, keys.count());
  a.dV = columns_of_head(b.dV, kv_head, e, adjacent).rows_from(keys.begin, keys.count());
  a.scale = T(run.scale);
  a.v = c.score.v;
  a.dv = dv;
  a.layout = p.layout;
  a.raw_unit = T(c.policy.transform ? 1 : 1 / log4_e);
  struct receiver {
    const backward_matrices<T>& to;
    index head;
    index first_key;
  } to{b, head, b.first_key + keys.begin};
  if (b.take)
    a.request = {&to, [](void* self, const score_gradient_block<T>& block) {
                   const receiver& r = *static_cast<const receiver*>(self);
                   score_gradient_block<T> of_call = block;
                   of_call.first_query += r.to.first_query;
                   of_call.first_key += r.first_key;
                   r.to.take(r.to.self, r.head, of_call);
                 }};
  for (index first = queries.begin; first < queries.end; first += p.query_step)
    backward_kernel_of<T, Additive>(c.isa)(a, {first, std::min(first + p.query_step, queries.end)},
                                           scratch);
}

/// The gradients of one problem, added to what is there.
template <bool Additive, class T>
void add_backward(const attention_call<T>& c, const backward_matrices<T>& b) {
  const index n = c.Q.rows, m = c.K.rows, group = c.group();
  if (n == 0 || m == 0) return;
  const register_shape& registers = registers_of<T>(c.isa);
  backward_plan p = plan_backward(sizes_of(c), registers);
  if (c.frame.key_begin) {  // limits count keys of the call
    p.key_block = m;
    p.key_blocks = 1;
  }
  const latin_square square{group * p.query_blocks, p.key_blocks, c.kv_heads};
  const index sums = p.key_blocks * c.kv_heads;
  const index workers = std::min(c.exec.concurrency, square.width());
  const input_sizes sizes = sizes_of_inputs(c);
  const index numbers = round_up(n * c.query_heads, 16);
  call_scratch arena(c.opts.workspace);
  const index counters = round_up(
      ceil_div(square.counters() * index(sizeof(latin_square::counter)), index(sizeof(T))), 16);
  // Each block of keys sums dv by itself.
  const index hidden = Additive ? round_up(c.score.v.cols, 16) : 0;
  T* const start = arena.take<T>(sizes.total() + 2 * numbers + sums * hidden + counters +
                                 workers * p.layout.total);
  T* const v = start + sizes.total() - sizes.v;
  const running_call<T> run{c, inputs_of(c, start), v};
  if constexpr (Additive) make_score_vector<true>(c, run.score_scale(), v);
  T* const logs = start + sizes.total();
  T* const dots = logs + numbers;
  T* const dv = dots + numbers;
  T* const counted = dv + sums * hidden;
  T* const scratch = counted + counters;
  std::fill(dv, counted, T(0));
  run_tasks(c.exec, c.query_heads, [&](index head, index) {
    make_row_numbers(c, b, head, logs + head * n, dots + head * n);
    if (b.dsinks) b.dsinks[head] += sink_gradient(c, b, head, dots + head * n);
  });
  square.run(c.exec, workers, counted, [&](index kv_head, index i, index j, index worker) {
    const index head = kv_head * group + i / p.query_blocks, block = i % p.query_blocks;
    backward_task<Additive>(
        run, p, b, head, {block * p.query_block, std::min((block + 1) * p.query_block, n)},
        {j * p.key_block, std::min((j + 1) * p.key_block, m)}, logs + head * n, dots + head * n,
        dv + (kv_head * p.key_blocks + j) * hidden, scratch + worker * p.layout.total);
  });
  for (index sum = 0; b.dv.data && sum < sums; ++sum)
    for (index k = 0; k < b.dv.cols; ++k) b.dv(0, k) += T(run.scale) * dv[sum * hidden + k];
}

/// The gradients of a checked call by the tiled kernel.
template <bool Additive, class T>
void run_backward(const attention_call<T>& c, const backward_matrices<T>& b) {
  clear(b.dQ);
  clear(b.dK);
  clear(b.dV);
  for (index head = 0; b.dsinks && head < c.query_heads; ++head) b.dsinks[head] = 0;
  if (c.sequences.count == 0) return add_backward<Additive>(c, b);
  for (index s = 0; s < c.sequences.count; ++s) {
    const range queries = c.sequences.queries_of(s), keys = c.keys_of_sequence(s);
    backward_matrices<T> part = b;
    part.O = b.O.rows_from(queries.begin, queries.count());
    part.log_sum_exp = b.log_sum_exp.rows_from(queries.begin, queries.count());
    part.dO = b.dO.rows_from(queries.begin, queries.count());
    if (b.dL.data) part.dL = b.dL.rows_from(queries.begin, queries.count());
    part.dQ = b.dQ.rows_from(queries.begin, queries.count());
    part.dK = b.dK.rows_from(keys.begin, keys.count());
    part.dV = b.dV.rows_from(keys.begin, keys.count());
    part.first_query = queries.begin;
    part.first_key = keys.begin;
    add_backward<Additive>(sequence_of(c, s), part);
  }
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END

#if SOFTLOOK_USES_COMPILED
SOFTLOOK_NAMESPACE_BEGIN
namespace detail {
SOFTLOOK_INSTANTIATE_BACKWARD(extern, float, false)
SOFTLOOK_INSTANTIATE_BACKWARD(extern, double, false)
SOFTLOOK_INSTANTIATE_BACKWARD(extern, float, true)
SOFTLOOK_INSTANTIATE_BACKWARD(extern, double, true)
}  // namespace detail
SOFTLOOK_NAMESPACE_END
#endif
