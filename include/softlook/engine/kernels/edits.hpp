#pragma once

#include <limits>

#include "softlook/engine/kernels/frame.hpp"

// Blocks of scores of a call, transformed and masked in the positions of the whole problem.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Scores of private keys see no transform, only what is multiplied in behind them.
template <class T>
void scale_scores(T* S, index count, T score_unit) {
  for (index x = 0; x < count; ++x) S[x] = S[x] * score_unit;
}

/// Transforms and, where `masked`, masks a panel of a tile: its rows are keys from `first_key` of
/// the call's m on, its lanes the given queries of the call.
template <class T>
__attribute__((noinline)) void edit_panel_in_frame(const policy_calls<T>& p, const call_frame& f,
                                                   problem whole, edit_block b, range queries,
                                                   index first_key, index m, bool masked,
                                                   T score_unit, T* S) {
  const index shared = f.shared_keys(m) - first_key, rows = b.rows;
  b.first_row = std::int32_t(f.key(first_key));
  b.row_step = std::int32_t(f.key_stride);
  if (shared < rows) b.rows = std::int32_t(shared < 0 ? 0 : shared);
  if (p.transform) {
    if (b.rows > 0) p.transform.apply_queries(p.transform.transform, S, b, whole, score_unit);
    scale_scores(S + b.rows * b.stride, (rows - b.rows) * b.stride, score_unit);
  }
  if (!masked) return;
  b.lane_span = positions_of(f, queries);
  if (b.rows > 0) p.mask.forbid_queries(p.mask.mask, S, b, whole);
  for (index i = queries.begin; f.key_begin && i < queries.end; ++i)
    for (index r = 0; r < rows; ++r)
      if (first_key + r < f.key_begin[i] || first_key + r >= f.key_end[i])
        S[r * b.stride + i - queries.begin] = -std::numeric_limits<T>::infinity();
}

/// The same; a mask alone over plain rows is the rule.
template <class T>
inline void edit_panel(const policy_calls<T>& p, const call_frame& f, problem whole, edit_block b,
                       range queries, index first_key, index m, bool masked, T score_unit, T* S) {
  if (p.transform || !masked || !f.plain())
    return edit_panel_in_frame(p, f, whole, b, queries, first_key, m, masked, score_unit, S);
  b.first_row = std::int32_t(f.first_key + first_key);
  b.lane_span = {f.first_query + queries.begin, f.first_query + queries.end};
  p.mask.forbid_queries(p.mask.mask, S, b, whole);
}

/// The positions of a block of keys, written when first asked for.
struct lane_positions {
  std::int32_t* data;
  bool written;

  /// Of `count` keys from `first` on, and of the first behind them up to whole vectors.
  const std::int32_t* of(index first, index stride, index count, index whole) {
    for (index x = 0; x < whole && !written; ++x)
      data[x] = std::int32_t(x < count ? first + x * stride : first);
    written = true;
    return data;
  }
};

/// Transforms and masks the scores of query i of the call and some of its m keys, which lie in
/// vectors of `lanes`; −∞ where nothing is allowed and past the last key.
template <class T>
__attribute__((noinline)) void edit_row(const policy_calls<T>& p, const call_frame& f,
                                        problem whole, index i, range keys, index m, T score_unit,
                                        index lanes, T* S, lane_positions& positions) {
  constexpr T forbidden = -std::numeric_limits<T>::infinity();
  const range row{i, i + 1};
  const index count = keys.count(), padded = (count + lanes - 1) / lanes * lanes;
  const range live = intersection(keys_of_rows(p, f, whole, row, m), keys);
  const coverage seen = live.empty() ? coverage::none : coverage_of_rows(p, f, whole, row, keys, m);
  if (seen == coverage::none) {
    for (index x = 0; x < padded; ++x) S[x] = forbidden;
    return;
  }
  const bool masked = seen == coverage::partial;
  if (p.transform || masked) {
    const index left = f.shared_keys(m) - keys.begin;
    const index shared = left < 0 ? 0 : left < count ? left : count;
    const index vectors = (shared + lanes - 1) / lanes, end = vectors * lanes;
    // Private keys in the last vector: the edit passes over them, so their scores are kept aside.
    T aside[64 / sizeof(T)];
    const index kept = (end < count ? end : count) - shared;
    for (index x = 0; x < kept; ++x) aside[x] = S[shared + x];
    if (shared > 0) {
      const edit_block block{0,
                             1,
                             std::int32_t(vectors),
                             std::int32_t(f.query(i)),
                             positions.of(f.key(keys.begin), f.key_stride, shared, end),
                             f.keys({keys.begin, keys.begin + shared})};
      if (p.transform) p.transform.apply_keys(p.transform.transform, S, block, whole, score_unit);
      if (masked) p.mask.forbid_keys(p.mask.mask, S, block, whole);
    }
    for (index x = 0; x < kept; ++x) S[shared + x] = aside[x];
    if (p.transform) scale_scores(S + shared, count - shared, score_unit);
    for (index x = 0; masked && f.key_begin && x < count; ++x)
      if (keys.begin + x < f.key_begin[i] || keys.begin + x >= f.key_end[i]) S[x] = forbidden;
  }
  for (index x = count; x < padded; ++x) S[x] = forbidden;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
