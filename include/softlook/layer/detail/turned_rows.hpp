#pragma once

#include <algorithm>

#include "softlook/engine/run/row_chain.hpp"
#include "softlook/layer/rotary_positions.hpp"

// Where the rows of a layer's attention stand, for rotary positions.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// \throws argument_error  where cos and sin were given for fewer positions than the call has.
template <class T>
void check_turned_positions(const rotary_positions<T>& by, const attention_call<T>& call) {
  if (!by) return;
  const call_sequences& parts = call.sequences;
  index end = 0;
  for (index s = 0; s < parts.count; ++s)
    end = std::max({end, parts.queries_of(s).count(), parts.keys_of(s).count()});
  if (parts.count == 0) {
    end = call.frame.keys({0, call.frame.shared_keys(call.K.rows)}).end;
    if (call.Q.rows > 0) end = std::max(end, positions_of(call.frame, {0, call.Q.rows}).end);
  }
  by.check_end(call.where, end);
}

/// Turns queries and new keys by the positions that the frame, or their sequence, gives them; or
/// their gradients on the way back.
template <class T>
void turn_by_position(const rotary_positions<T>& by, const attention_call<T>& call,
                      const mutable_matrix_view<T>& Q, const mutable_matrix_view<T>& K,
                      rotary_way way = rotary_way::forward) {
  if (!by) return;
  const call_sequences& parts = call.sequences;
  for (index s = 0; s < parts.count; ++s) {
    const range queries = parts.queries_of(s), keys = parts.keys_of(s);
    by.turn(Q.rows_from(queries.begin, queries.count()), 0, way);
    by.turn(K.rows_from(keys.begin, keys.count()), 0, way);
  }
  if (parts.count > 0) return;
  const index earlier = call.frame.shared_keys(call.K.rows) - K.rows;  // in a cache
  const index first_key = call.frame.key(earlier);
  if (call.frame.query_positions || call.frame.query_stride != 1 || call.frame.key_stride != 1) {
    for (index i = 0; i < Q.rows; ++i) by.turn(Q.rows_from(i, 1), call.frame.query(i), way);
    for (index j = 0; j < K.rows; ++j) by.turn(K.rows_from(j, 1), call.frame.key(earlier + j), way);
    return;
  }
  const auto turn_rows = [&](const mutable_matrix_view<T>& X, range rows, index first) {
    const range own = intersection(rows, {0, X.rows});
    if (!own.empty()) by.turn(X.rows_from(own.begin, own.count()), first + own.begin, way);
  };
  const index rows = std::max(Q.rows, K.rows);
  const index step = has_row_blocks(rows, call.exec.concurrency) ? least_row_block : rows;
  run_tasks(call.exec, step > 0 ? ceil_div(rows, step) : 0, [&](index task, index) {
    const range part{task * step, (task + 1) * step};
    turn_rows(Q, part, call.frame.first_query);
    turn_rows(K, part, first_key);
  });
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
