#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "softlook/attention/detail/entmax_row.hpp"
#include "softlook/engine/run/run_attention.hpp"

// Attention whose weights are α-entmax, a block of queries at a time. Its threshold depends on the
// whole row, so there is no online form: a block of rows of scores is stored, never all of them.
//
// Traffic of a block of r rows: K, packed once for the call, is read once (m·d), r·m scores are
// written and read twice, and of V only the rows that have weight.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// What a call needs, in bytes from the start of its scratch: shared, and for each worker.
template <class T>
struct entmax_layout {
  index rows = 0;     // queries in a block
  index columns = 0;  // keys, rounded up to whole vectors of any instruction set
  std::size_t panels = 0, positions = 0, workers = 0;
  std::size_t scores = 0, weights = 0, keys = 0, output = 0;  // from a worker's start
  std::size_t each = 0;

  explicit entmax_layout(const running_call<T>& run) {
    const attention_call<T>& c = run.call;
    constexpr index most_rows = 64, least_rows = 8, vector = 64 / index(sizeof(T));
    constexpr index scores_of_block = (index{1} << 20) / index(sizeof(T));
    const index m = c.K.rows;
    columns = round_up(m, vector);
    rows = std::clamp(scores_of_block / std::max<index>(columns, 1) / least_rows * least_rows,
                      least_rows, most_rows);
    std::size_t at = 0;
    const auto take = [&](index count, std::size_t size) {
      const std::size_t start = at;
      at += (std::size_t(count) * size + 63) / 64 * 64;
      return start;
    };
    if (!c.score.additive)
      panels =
          take(std::max(packed_size<T>(run.inputs.K.cols, m), packed_panel_width<T> + index{0}),
               sizeof(T));
    positions = take(columns, sizeof(std::int32_t));
    workers = at;
    at = 0;
    scores = take(rows * columns, sizeof(T));
    weights = take(m, sizeof(double));
    keys = take(m, sizeof(std::int32_t));
    output = take(c.V.cols, sizeof(T));
    each = at;
  }
};

/// The scores of blocks of queries, and their weights.
template <class T>
class entmax_blocks {
 public:
  entmax_blocks(const running_call<T>& run, double alpha, std::byte* space)
      : c_(run.call),
        inputs_(run.inputs),
        kernels_(products_of<T>(run.call.isa)),
        at_(run),
        scale_(T(run.scale)),
        alpha_(alpha),
        space_(space) {
    const matrix_view<T>& K = inputs_.K;
    for (index j = 0; j < at_.columns; ++j)
      positions()[j] = static_cast<std::int32_t>(std::min(j, K.rows - 1));
    if (c_.score.additive || K.rows == 0 || K.cols == 0) return;
    T* const packed = part<T>(at_.panels);
    kernels_.pack(K.transpose(), packed);
    for (index k = 0; k < packed_size<T>(K.cols, K.rows); ++k) packed[k] *= scale_;
  }

  [[nodiscard]] index blocks() const { return ceil_div(c_.Q.rows, at_.rows); }

  /// row(i, support, scratch for an output row) for every query of a block.
  template <class F>
  void run(index block, index worker, const F& row) const {
    const range queries{block * at_.rows, std::min((block + 1) * at_.rows, c_.Q.rows)};
    const std::size_t mine = at_.workers + std::size_t(worker) * at_.each;
    T* const S = part<T>(mine + at_.scores);
    const range keys = fill(S, queries);
    entmax_support support;
    support.keys = part<std::int32_t>(mine + at_.keys);
    support.weights = part<double>(mine + at_.weights);
    for (index i = queries.begin; i < queries.end; ++i) {
      const T* const scores = S + (i - queries.begin) * at_.columns + keys.begin;
      entmax_row(scores, keys.count(), keys.begin, alpha_, support);
      row(i, support, part<T>(mine + at_.output));
    }
  }

 private:
  template <class X>
  [[nodiscard]] X* part(std::size_t from) const {
    return reinterpret_cast<X*>(space_ + from);
  }
  [[nodiscard]] std::int32_t* positions() const { return part<std::int32_t>(at_.positions); }

  /// Transformed and masked scores of a block. \return the keys that it can see; only their columns
  /// are written.
  range fill(T* S, range queries) const {
    const policy_calls<T>& p = c_.policy;
    const problem whole = c_.problem_of(0);
    const index m = c_.K.rows;
    range keys = keys_of_rows(p, c_.frame, whole, queries, m);
    if (keys.empty()) return {0, 0};
    keys.begin = keys.begin / packed_panel_width<T> * packed_panel_width<T>;
    const index lanes = kernels_.shape.lanes, end = round_up(keys.end, lanes);
    product(S, queries, {keys.begin, std::min(end, m)});
    for (index i = 0; i < queries.count(); ++i)
      for (index j = m; j < end; ++j) S[i * at_.columns + j] = 0;
    const edit_block block{at_.columns, std::int32_t(queries.count()),
                           std::int32_t((end - keys.begin) / lanes), std::int32_t(queries.begin),
                           positions() + keys.begin};
    T* const at = S + keys.begin;
    if (p.transform) p.transform.apply_keys(p.transform.transform, at, block, whole, T(1));
    if (coverage_of_rows(p, c_.frame, whole, queries, keys, m) != coverage::full)
      p.mask.forbid_keys(p.mask.mask, at, block, whole);
    return keys;
  }

  /// scale · score of some queries and keys.
  void product(T* S, range queries, range keys) const {
    const matrix_view<T> Q = inputs_.Q.rows_from(queries.begin, queries.count());
    if (c_.score.additive) {
      const row_major<T> part =
          materialised_scores(Q, inputs_.K.rows_from(keys.begin, keys.count()), c_.score, scale_);
      for (index i = 0; i < part.rows(); ++i)
        for (index j = 0; j < part.cols(); ++j) S[i * at_.columns + keys.begin + j] = part(i, j);
      return;
    }
    product_args<T> args;
    args.X = Q;
    args.panels = part<T>(at_.panels);
    args.Y = {S, queries.count(), c_.K.rows, at_.columns, 1};
    kernels_.linear(args, {0, queries.count()}, keys);
  }

  const attention_call<T>& c_;
  const score_inputs<T>& inputs_;
  const product_kernels<T>& kernels_;
  entmax_layout<T> at_;
  T scale_;
  double alpha_;
  std::byte* space_;
};

/// row(i, support, scratch for an output row) for every query of a checked call, as tasks.
template <class T, class F>
void for_each_entmax_row(const attention_call<T>& c, double alpha, const F& row) {
  if (c.Q.rows == 0) return;
  with_inputs(c, [&](const running_call<T>& run) {
    const entmax_layout<T> at(run);
    const index tasks = ceil_div(c.Q.rows, at.rows), workers = std::min(c.exec.concurrency, tasks);
    softlook::workspace* const given = c.opts.workspace;
    call_scratch arena(given ? &given->inner() : nullptr);
    const std::size_t bytes = at.workers + std::size_t(workers) * at.each;
    const entmax_blocks<T> blocks(run, alpha, arena.template take<std::byte>(index(bytes)));
    run_tasks(c.exec, tasks, [&](index task, index worker) { blocks.run(task, worker, row); });
  });
}

/// sum += p·v, in steps of a fixed length, which compilers vectorise at -O2.
template <class T>
void add_value(T* __restrict sum, T p, const T* __restrict v, index count, index stride) {
  constexpr index step = 16;
  index c = 0;
  if (stride == 1)
    for (; c + step <= count; c += step)
      for (index x = 0; x < step; ++x) sum[c + x] += p * v[c + x];
  for (; c < count; ++c) sum[c] += p * v[c * stride];
}

/// O = P·V; a value without weight is never read.
template <class T>
void run_entmax(const attention_call<T>& c, double alpha) {
  for_each_entmax_row(c, alpha, [&](index i, const entmax_support& p, T* sum) {
    const index e = c.V.cols;
    std::fill_n(sum, e, p.nan ? std::numeric_limits<T>::quiet_NaN() : T(0));
    for (index k = 0; k < p.count && e > 0; ++k)
      add_value(sum, T(p.weights[k]), &c.V(p.keys[k], 0), e, c.V.col_stride);
    for (index f = 0; f < e; ++f) c.O(i, f) = sum[f];
  });
}

/// P, n×m.
template <class T>
[[nodiscard]] row_major<T> run_entmax_weights(const attention_call<T>& c, double alpha) {
  row_major<T> P = row_major<T>::Zero(c.Q.rows, c.K.rows);
  for_each_entmax_row(c, alpha, [&](index i, const entmax_support& p, T*) {
    if (p.nan) P.row(i).setConstant(std::numeric_limits<T>::quiet_NaN());
    for (index k = 0; k < p.count; ++k) P(i, p.keys[k]) = T(p.weights[k]);
  });
  return P;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END

#if SOFTLOOK_USES_COMPILED
SOFTLOOK_NAMESPACE_BEGIN
namespace detail {
SOFTLOOK_INSTANTIATE_ENTMAX(extern, float)
SOFTLOOK_INSTANTIATE_ENTMAX(extern, double)
}  // namespace detail
SOFTLOOK_NAMESPACE_END
#endif
