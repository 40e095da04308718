#pragma once

#include <limits>

#include "softlook/engine/kernels/policy_calls.hpp"

// Where the rows of a call stand in the whole problem that its policies speak of.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Row i of the call is query `first_query + i·query_stride` of the problem, or
/// `query_positions[i]` where there is a list; row j of its keys is key `first_key + j·key_stride`.
/// The last `private_keys` keys are none of the problem: a layer added them, every query sees them,
/// and no policy is asked about them.
/// Limits, where there are any, leave row i the keys [key_begin[i], key_end[i]) of the call.
struct call_frame {
  index first_query = 0;
  index first_key = 0;
  index later_queries = 0;  // behind those of the call; with a list: all of the problem
  index later_keys = 0;
  index private_keys = 0;
  index query_stride = 1;
  index key_stride = 1;
  index sequence = 0;    // of a batch
  index first_head = 0;  // of the call; `heads` there are, or 0: those of the call
  index heads = 0;
  const std::int32_t* query_positions = nullptr;
  const std::int32_t* key_begin = nullptr;
  const std::int32_t* key_end = nullptr;

  [[nodiscard]] index query(index i) const {
    return query_positions ? index{query_positions[i]} : first_query + i * query_stride;
  }
  [[nodiscard]] index key(index j) const { return first_key + j * key_stride; }
  /// The positions that some keys span.
  [[nodiscard]] range keys(range rows) const {
    if (key_stride == 1 || rows.empty()) return {first_key + rows.begin, first_key + rows.end};
    return {key(rows.begin), key(rows.end - 1) + 1};
  }
  /// Rows one behind the other, without limits, and all keys are those of the problem.
  [[nodiscard]] bool plain() const {
    return !query_positions && !key_begin && private_keys == 0 && query_stride == 1 &&
           key_stride == 1;
  }
  /// Positions from the first to the last of so many rows.
  [[nodiscard]] static index span(index rows, index stride) {
    return stride == 1 || rows < 1 ? rows : (rows - 1) * stride + 1;
  }

  /// The frame of the rows from `first` on.
  [[nodiscard]] call_frame from_row(index first) const {
    call_frame f = *this;
    f.first_query += first * query_stride;
    if (query_positions) f.query_positions += first;
    if (key_begin) {
      f.key_begin += first;
      f.key_end += first;
    }
    return f;
  }
  /// Keys of a call with `keys` rows that policies are asked about.
  [[nodiscard]] index shared_keys(index keys) const { return keys - private_keys; }

  /// The problem of a call of n queries and m keys, in one of its heads.
  [[nodiscard]] problem whole(index n, index m, index head, index call_heads) const {
    const index queries =
        query_positions ? later_queries : first_query + span(n, query_stride) + later_queries;
    const index keys = first_key + span(shared_keys(m), key_stride) + later_keys;
    return {std::int32_t(queries), std::int32_t(keys), std::int32_t(first_head + head),
            std::int32_t(heads > 0 ? heads : call_heads), std::int32_t(sequence)};
  }
};

/// The smallest interval of positions that holds those of some rows. What a mask says of it holds
/// for each of them: `none` and `full` of an interval are `none` and `full` of its parts.
[[nodiscard]] inline range positions_of(const call_frame& f, range rows) {
  if (!f.query_positions) {
    if (f.query_stride == 1 || rows.empty())
      return {f.first_query + rows.begin, f.first_query + rows.end};
    return {f.query(rows.begin), f.query(rows.end - 1) + 1};
  }
  range all{};
  for (index i = rows.begin; i < rows.end; ++i)
    all = hull(all, {f.query_positions[i], f.query_positions[i] + 1});
  return all;
}

/// The keys that the limits leave to some rows.
[[nodiscard]] inline range limits_of(const call_frame& f, range rows) {
  range all{};
  for (index i = rows.begin; i < rows.end; ++i) all = hull(all, {f.key_begin[i], f.key_end[i]});
  return all;
}

/// How much of a tile the limits let through.
[[nodiscard]] inline coverage coverage_of_limits(const call_frame& f, range rows, range keys) {
  bool none = true, full = true;
  for (index i = rows.begin; i < rows.end; ++i) {
    const range seen = intersection({f.key_begin[i], f.key_end[i]}, keys);
    none = none && seen.empty();
    full = full && seen == keys;
  }
  return none ? coverage::none : full ? coverage::full : coverage::partial;
}

/// The keys of a call, of m, that its mask may allow to some of its rows.
template <class T>
[[nodiscard]] inline range keys_of_rows(const policy_calls<T>& p, const call_frame& f,
                                        problem whole, range rows, index m) {
  const index shared = f.shared_keys(m);
  range keys = p.mask.key_range(p.mask.mask, positions_of(f, rows), whole);
  keys = {keys.begin - f.first_key, keys.end - f.first_key};
  if (f.key_stride != 1)  // the first key at or behind a position
    keys = {keys.begin > 0 ? (keys.begin + f.key_stride - 1) / f.key_stride : 0,
            keys.end > 0 ? (keys.end + f.key_stride - 1) / f.key_stride : 0};
  keys = intersection(keys, {0, shared});
  if (f.private_keys > 0) keys = hull(keys, {shared, m});
  if (f.key_begin) keys = intersection(keys, limits_of(f, rows));
  return keys;
}

/// coverage_of_rows() where the rows are not plain.
template <class T>
[[nodiscard]] __attribute__((noinline)) coverage coverage_in_frame(const policy_calls<T>& p,
                                                                   const call_frame& f,
                                                                   problem whole, range rows,
                                                                   range keys, index m) {
  const index shared = f.shared_keys(m);
  coverage seen = coverage::full;
  if (keys.begin < shared) {
    const index end = std::min(keys.end, shared);
    seen = p.mask.coverage_of(p.mask.mask, positions_of(f, rows), f.keys({keys.begin, end}), whole);
    if (seen == coverage::none && end < keys.end) seen = coverage::partial;
  }
  if (f.key_begin && seen != coverage::none) {
    const coverage limited = coverage_of_limits(f, rows, keys);
    if (limited != coverage::full) seen = limited;
  }
  return seen;
}

/// How much of a tile of rows and keys of a call is live.
template <class T>
[[nodiscard]] inline coverage coverage_of_rows(const policy_calls<T>& p, const call_frame& f,
                                               problem whole, range rows, range keys, index m) {
  if (!f.plain()) return coverage_in_frame(p, f, whole, rows, keys, m);
  return p.mask.coverage_of(p.mask.mask, {f.first_query + rows.begin, f.first_query + rows.end},
                            {f.first_key + keys.begin, f.first_key + keys.end}, whole);
}

/// Transforms of an n×m matrix of scores.
template <class T>
void transform_matrix(const policy_calls<T>& p, const call_frame& f, problem whole,
                      mutable_matrix_view<T> S) {
  S.cols = f.shared_keys(S.cols);
  if (p.transform) p.transform.apply_matrix(p.transform.transform, S, f, whole);
}

/// −∞ where an n×m matrix of scores is masked.
template <class T>
void mask_matrix(const policy_calls<T>& p, const call_frame& f, problem whole,
                 mutable_matrix_view<T> S) {
  for (index i = 0; f.key_begin && i < S.rows; ++i)
    for (index j = 0; j < S.cols; ++j)
      if (j < f.key_begin[i] || j >= f.key_end[i]) S(i, j) = -std::numeric_limits<T>::infinity();
  S.cols = f.shared_keys(S.cols);
  p.mask.forbid_matrix(p.mask.mask, S, f, whole);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
