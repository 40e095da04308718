#pragma once

#include "softlook/engine/run/sinks.hpp"
#include "softlook/mpi/detail/rank_run.hpp"
#include "softlook/mpi/detail/ring_pieces.hpp"
#include "softlook/mpi/detail/state_tree.hpp"

// Pieces of keys and values that pass from rank to rank.
//   \see Liu et al., "Ring Attention with Blockwise Transformers for Near-Infinite Context", 2023.
//
// A rank sends what it works on to the next one, and receives the pieces after those meanwhile:
// P − 1 messages of m/P rows, of which two lie in memory.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Keys and values of some rows in one block of memory, one message: those of the larger scalars
/// first, so that both are aligned.
template <class SK, class SV>
struct row_bundle {
  std::byte* data = nullptr;
  index rows = 0;
  index features = 0;
  index values = 0;

  [[nodiscard]] static index row_bytes(index features, index values) {
    return features * index(sizeof(SK)) + values * index(sizeof(SV));
  }
  [[nodiscard]] byte_rows all() const { return {data, rows, row_bytes(features, values), 1}; }
  [[nodiscard]] row_buffer<SK> K() const {
    const index before = keys_first ? 0 : row_buffer<SV>::bytes(rows, values);
    return {data + before, rows, features};
  }
  [[nodiscard]] row_buffer<SV> V() const {
    const index before = keys_first ? row_buffer<SK>::bytes(rows, features) : 0;
    return {data + before, rows, values};
  }

 private:
  static constexpr bool keys_first = sizeof(SK) >= sizeof(SV);
};

/// Room for the bundle that is worked on and for the next; and for this rank's rows, where they do
/// not begin here.
template <class SK, class SV>
class ring_room {
 public:
  template <class T, class... Ps>
  ring_room(rank_run& run, const rank_call<T, Ps...>& call, const mpi::partitions& at)
      : pieces(call.whole().K.rows, run.how().pieces, run.comm().size()),
        features_(call.whole().K.cols),
        values_(call.whole().V.cols) {
    const index row = row_bundle<SK, SV>::row_bytes(features_, values_);
    const int rank = run.comm().rank(), ranks = run.comm().size();
    for (int k = 0; k < (ranks > 1 ? 2 : 1); ++k)
      bundles_[k] = run.messages().hold(pieces.most_rows() * row);
    index elsewhere = at.keys.rows(rank);
    for_each_settled(
        pieces, at.keys, rank, rank,
        [&](const mpi::row_run& here, const mpi::row_run&) { elsewhere -= here.count; });
    if (elsewhere == 0) return;
    away = {run.messages().hold(at.keys.rows(rank) * row), at.keys.rows(rank), features_, values_};
  }

  /// What lies in one of the two places, of a rank's bundle.
  [[nodiscard]] row_bundle<SK, SV> bundle(int place, int of_rank) const {
    return {bundles_[place % 2], pieces.rows_of_bundle(of_rank), features_, values_};
  }

  ring_pieces pieces;
  row_bundle<SK, SV> away{};  // no data: nothing of this rank's rows begins elsewhere

 private:
  index features_;
  index values_;
  std::byte* bundles_[2] = {nullptr, nullptr};
};

/// Brings every row to the rank where its piece begins.
template <class T, class SK, class SV>
void begin_ring(rank_run& run, const rank_matrices<T, SK, SV>& m, const mpi::partition& keys,
                const ring_room<SK, SV>& room) {
  transfer& messages = run.messages();
  const int rank = run.comm().rank();
  const row_bundle<SK, SV> mine = room.bundle(0, rank);
  const auto for_each_part = [&](int from, int home, const auto& f) {
    for_each_settled(room.pieces, keys, from, home, f);
  };
  if (room.away.data) {
    pack_rows(m.K, room.away.K().all());
    pack_rows(m.V, room.away.V().all());
  }
  for_each_peer(
      run.comm(),
      [&](int from) {
        for_each_part(from, rank, [&](const mpi::row_run&, const mpi::row_run& place) {
          messages.receive(mine.K().at(place), from, tag_keys);
          messages.receive(mine.V().at(place), from, tag_values);
        });
      },
      [&](int to) {
        for_each_part(rank, to, [&](const mpi::row_run& part, const mpi::row_run&) {
          messages.send(room.away.K().all().from(part.local, part.count), to, tag_keys);
          messages.send(room.away.V().all().from(part.local, part.count), to, tag_values);
        });
      });
  for_each_part(rank, rank, [&](const mpi::row_run& part, const mpi::row_run& place) {
    pack_rows(m.K.rows_from(part.local, part.count), mine.K().at(place));
    pack_rows(m.V.rows_from(part.local, part.count), mine.V().at(place));
  });
  messages.wait();
}

/// The state of this rank's rows over one piece of keys, or none where no row sees any of it.
template <class T, class SK, class SV, class... Ps>
[[nodiscard]] std::optional<rank_state<T>> attend_piece(
    rank_run& run, const rank_call<T, Ps...>& call, const matrix_view<T>& Q,
    const std::vector<mpi::row_run>& queries, const matrix_view<SK>& K, const matrix_view<SV>& V,
    const mpi::row_run& keys, state_tree<T>& tree) {
  constexpr T nothing = -std::numeric_limits<T>::infinity();
  const attention_call<T>& whole = call.whole();
  bool any = false;
  for (const mpi::row_run& rows : queries)
    any = any || (keys.count > 0 && sees_any(whole, rows, keys.hull()));
  if (!any) return std::nullopt;
  rank_state<T> state = tree.room(Q.rows, whole.values() * whole.query_heads, whole.query_heads);
  attention_call<T> c = call.heads_of(0, call.kv_heads());
  c.sinks = {};  // they join once, behind the last merge
  const kernel_rows<T, SK> of_keys(K, c.isa, call.wants_matrices());
  const kernel_rows<T, SV> of_values(V, c.isa, call.wants_matrices());
  call.set_keys(c, of_keys, of_values, keys.global, keys.stride);
  for (const mpi::row_run& rows : queries) {
    if (sees_any(whole, rows, keys.hull())) {
      call.set_queries(c, rows, Q, writable_view(state.O), writable_view(state.log_sum_exp));
      run.attend(c);
    } else {
      state.O.middleRows(rows.local, rows.count).setZero();
      state.log_sum_exp.middleRows(rows.local, rows.count).setConstant(nothing);
    }
  }
  return state;
}

/// What has been merged, to where the caller wants it; sinks join it.
template <class T, class... Ps>
void write_state(const rank_call<T, Ps...>& call, std::optional<rank_state<T>>&& state,
                 const mutable_matrix_view<T>& O, const mutable_matrix_view<T>& log_sum_exp) {
  const attention_call<T>& whole = call.whole();
  if (!state) {
    state.emplace();
    state->O = row_major<T>::Zero(O.rows, O.cols);
    state->log_sum_exp =
        row_major<T>::Constant(O.rows, whole.query_heads, -std::numeric_limits<T>::infinity());
  }
  if (whole.sinks.logits.data) {
    attention_call<T> c = whole;
    c.Q.rows = O.rows;
    c.O = writable_view(state->O);
    c.log_sum_exp = writable_view(state->log_sum_exp);
    for (index head = 0; head < whole.query_heads; ++head) join_sinks(c, head);
  }
  for (index i = 0; i < O.rows; ++i) {
    for (index j = 0; j < O.cols; ++j) O(i, j) = state->O(i, j);
    for (index h = 0; log_sum_exp.data && h < whole.query_heads; ++h)
      log_sum_exp(i, h) = state->log_sum_exp(i, h);
  }
}

template <class T, class SK, class SV, class... Ps>
void attend_ring(rank_run& run, const rank_call<T, Ps...>& call, const rank_matrices<T, SK, SV>& m,
                 const mpi::partitions& at, const ring_room<SK, SV>& room) {
  transfer& messages = run.messages();
  const int rank = run.comm().rank(), ranks = run.comm().size();
  const int next = (rank + 1) % ranks, before = (rank + ranks - 1) % ranks;
  const std::vector<mpi::row_run> queries = at.queries.runs(rank);
  state_tree<T> tree(room.pieces.count(), call.whole().exec);
  begin_ring(run, m, at.keys, room);
  for (int step = 0; step < ranks; ++step) {
    const int owner = (rank + ranks - step) % ranks;
    const row_bundle<SK, SV> here = room.bundle(step, owner);
    if (step + 1 < ranks) {
      messages.receive(room.bundle(step + 1, (owner + ranks - 1) % ranks).all(), before, tag_ring);
      messages.send(here.all(), next, tag_ring);
    }
    run.work([&] {
      room.pieces.for_each(owner, [&](index piece, range rows, index first) {
        tree.put(piece, attend_piece(run, call, m.Q, queries,
                                     here.K().view().rows_from(first, rows.count()),
                                     here.V().view().rows_from(first, rows.count()),
                                     {first, rows.begin, 1, rows.count()}, tree));
      });
    });
    messages.wait();
  }
  run.work([&] { write_state(call, tree.take(), m.O, m.log_sum_exp); });
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
