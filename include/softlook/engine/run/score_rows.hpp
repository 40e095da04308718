#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>

#include "softlook/engine/run/run_attention.hpp"

// Whole rows of scores, for what needs all keys of a query at once: a block of queries at a time,
// so that n×m scores are never stored.
//
// Traffic of a block of r rows: K is read and packed once (m·d), r·m scores leave the register
// tiles for rows that stay in the second-level cache, unless m is large.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Scores of a block of queries of one query head, transformed and masked, in natural units.
template <class T>
struct score_block {
  index head = 0;
  range queries{};
  range keys{};  // none of these queries sees another
  const T* S = nullptr;
  index stride = 0;
  std::byte* room = nullptr;  // of the worker

  /// The scores of query i, the first of which belongs to key keys.begin.
  [[nodiscard]] const T* row(index i) const {
    return S + (i - queries.begin) * stride + keys.begin;
  }
};

/// Queries in a block. No score depends on it.
template <class T>
[[nodiscard]] constexpr index score_rows_for(index queries, index keys, index heads,
                                             index workers) {
  constexpr index most = 96, least = 16, room = (index{1} << 20) / index(sizeof(T));
  const index fit = std::clamp(room / std::max<index>(keys, 1) / least * least, least, most);
  const index blocks = workers > 1 ? ceil_div(2 * workers, heads) : 1;
  return std::clamp(round_up(ceil_div(queries, blocks), least), least, fit);
}

/// The scores of some queries of a head into rows of S. \return the keys that they may see.
template <bool Additive, class T>
range fill_score_rows(const running_call<T>& run, const tiled_layout& layout, index head,
                      range queries, const mutable_matrix_view<T>& S, T* scratch) {
  const attention_call<T>& c = run.call;
  forward_args<T, Additive> a = run.template args_of_head<Additive>(layout, head);
  a.query_scale = T(run.scale);
  a.score_unit = 1;
  const range keys = keys_of_rows(c.policy, c.frame, a.whole, queries, a.keys.rows);
  if (keys.empty()) return {0, 0};
  // The kernel leaves out tiles that are masked as a whole.
  if (coverage_of_rows(c.policy, c.frame, a.whole, queries, keys, a.keys.rows) != coverage::full)
    for (index i = 0; i < queries.count(); ++i)
      for (index j = keys.begin; j < keys.end; ++j) S(i, j) = -std::numeric_limits<T>::infinity();
  tiled_scores_of<T, Additive>(c.isa)(a, queries, S, scratch);
  return keys;
}

template <bool Additive, class T>
class score_rows {
 public:
  explicit score_rows(const attention_call<T>& c) : call_(c) {
    call_.value_rows = c.value_rows.columns(0, 0);
    call_.V = {nullptr, c.V.rows, 0, 0, 0};
    call_.O = {};
    call_.log_sum_exp = {};
    const call_sizes sizes = sizes_of(call_);
    rows_ = score_rows_for<T>(sizes.queries, sizes.keys, sizes.query_heads, c.exec.concurrency);
    // An odd number of lines, so that a column of scores is not of one set of the caches.
    constexpr index line = 64 / index(sizeof(T));
    stride_ = (ceil_div(sizes.keys, line) | 1) * line;
    const register_shape& registers = registers_of<T>(c.isa);
    layout_ = tiled_layout_for(sizes, registers, key_tile_for(sizes, registers),
                               ceil_div(rows_, registers.width()));
  }

  /// f(block) for every block of queries of every query head, as tasks; `room` bytes of scratch
  /// for f on each worker.
  template <class F>
  void run(std::size_t room, const F& f) const {
    const index n = call_.Q.rows;
    if (n == 0) return;
    const input_sizes sizes = sizes_of_inputs(call_);
    const index blocks = ceil_div(n, rows_), tasks = blocks * call_.query_heads;
    const index workers = std::min(call_.exec.concurrency, tasks);
    const std::size_t inputs = bytes_of(sizes.total());
    const std::size_t each = bytes_of(layout_.total) + bytes_of(rows_ * stride_) + whole(room);
    call_scratch arena(call_.opts.workspace);
    std::byte* const start =
        arena.template take<std::byte>(index(inputs + std::size_t(workers) * each));
    T* const space = reinterpret_cast<T*>(start);
    T* const v = space + sizes.total() - sizes.v;
    const running_call<T> made{call_, inputs_of(call_, space), v};
    make_score_vector<Additive>(call_, T(made.scale), v);
    run_tasks(call_.exec, tasks, [&](index task, index worker) {
      const index head = quotient(task, blocks), first = (task - head * blocks) * rows_;
      f(filled(made, head, {first, std::min(first + rows_, n)},
               start + inputs + std::size_t(worker) * each));
    });
  }

 private:
  [[nodiscard]] static std::size_t whole(std::size_t bytes) { return (bytes + 63) / 64 * 64; }
  [[nodiscard]] static std::size_t bytes_of(index scalars) {
    return whole(std::size_t(scalars) * sizeof(T));
  }

  [[nodiscard]] score_block<T> filled(const running_call<T>& made, index head, range queries,
                                      std::byte* mine) const {
    std::byte* const rows = mine + bytes_of(layout_.total);
    const mutable_matrix_view<T> S{reinterpret_cast<T*>(rows), queries.count(), call_.K.rows,
                                   stride_, 1};
    const range keys =
        fill_score_rows<Additive>(made, layout_, head, queries, S, reinterpret_cast<T*>(mine));
    return {head, queries, keys, S.data, stride_, rows + bytes_of(rows_ * stride_)};
  }

  attention_call<T> call_;
  tiled_layout layout_;
  index rows_ = 0;
  index stride_ = 0;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END

#if SOFTLOOK_USES_COMPILED
SOFTLOOK_NAMESPACE_BEGIN
namespace detail {
SOFTLOOK_INSTANTIATE_SCORE_ROWS(extern, float)
SOFTLOOK_INSTANTIATE_SCORE_ROWS(extern, double)
}  // namespace detail
SOFTLOOK_NAMESPACE_END
#endif
