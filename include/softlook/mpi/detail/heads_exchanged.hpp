#pragma once

#include "softlook/mpi/detail/rank_run.hpp"

// Some heads of all rows on every rank: an all-to-all of columns for rows, and one back.
//   \see Jacobs et al., "DeepSpeed Ulysses", 2023.
//
// A rank receives (P − 1)/P of the rows of its share of the columns, of Q, K, V and of O once. The
// heads are whole, so that no position is anywhere but where it was, and no mask makes one rank's
// work longer than another's.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Columns of a matrix in as many blocks as there are ranks: this rank's rows of each of them, and
/// all rows of its own.
template <class S>
struct exchanged_columns {
  exchanged_columns(transfer& messages, index own_rows, index all_rows, index columns)
      : rows(own_rows),
        blocks(hold_rows<S>(messages, own_rows * messages.comm().size(), columns)),
        all(hold_rows<S>(messages, all_rows, columns)) {}

  /// This rank's rows of a block.
  [[nodiscard]] row_buffer<S> block(int rank) const {
    return {blocks.data + rank * rows * blocks.row_bytes(), rows, blocks.cols};
  }
  [[nodiscard]] matrix_view<S> columns_of(const matrix_view<S>& X, int rank) const {
    return X.columns(rank * blocks.cols, blocks.cols);
  }

  /// Posts what brings all rows of its columns to each rank.
  void post_rows(transfer& messages, const matrix_view<S>& X, const mpi::partition& at,
                 int tag) const {
    const mpi::communicator& comm = messages.comm();
    for_each_peer(
        comm,
        [&](int from) {
          for (const mpi::row_run& run : at.runs(from)) messages.receive(all.at(run), from, tag);
        },
        [&](int to) {
          pack_rows(columns_of(X, to), block(to).all());
          for (const mpi::row_run& run : at.runs(comm.rank()))
            messages.send(block(to).all().from(run.local, run.count), to, tag);
        });
    pack_own(columns_of(X, comm.rank()), all, at, comm.rank());
  }
  /// Posts what brings all columns of its rows to each rank.
  void post_columns(transfer& messages, const mpi::partition& at, int tag) const {
    const mpi::communicator& comm = messages.comm();
    for_each_peer(
        comm,
        [&](int from) {
          for (const mpi::row_run& run : at.runs(comm.rank()))
            messages.receive(block(from).all().from(run.local, run.count), from, tag);
        },
        [&](int to) {
          for (const mpi::row_run& run : at.runs(to)) messages.send(all.at(run), to, tag);
        });
  }
  /// Behind post_columns() and a wait.
  void take_columns(const mutable_matrix_view<S>& X, const mpi::partition& at, int rank,
                    int ranks) const {
    for (int from = 0; from < ranks; ++from) {
      const mutable_matrix_view<S> to = X.columns(from * blocks.cols, blocks.cols);
      if (from != rank) unpack_rows(block(from).all(), to);
    }
    for (const mpi::row_run& run : at.runs(rank))
      unpack_rows(all.at(run),
                  X.columns(rank * blocks.cols, blocks.cols).rows_from(run.local, run.count));
  }

  index rows;
  row_buffer<S> blocks;
  row_buffer<S> all;
};

template <class T, class SK, class SV>
struct exchanged_heads {
  template <class... Ps>
  exchanged_heads(rank_run& run, const rank_call<T, Ps...>& call, const mpi::partitions& at,
                  bool wanted)
      : heads(call.kv_heads() / run.comm().size()),
        Q(of<T>(run, at.queries, heads * call.group() * call.whole().query_features())),
        K(of<SK>(run, at.keys, heads * call.whole().key_features())),
        V(of<SV>(run, at.keys, heads * call.whole().values())),
        O(of<T>(run, at.queries, heads * call.group() * call.whole().values())),
        log_sum_exp(of<T>(run, at.queries, wanted ? heads * call.group() : 0)) {}

  template <class S>
  [[nodiscard]] static exchanged_columns<S> of(rank_run& run, const mpi::partition& at,
                                               index columns) {
    return {run.messages(), at.rows(run.comm().rank()), at.rows(), columns};
  }

  index heads;  // of keys, of a rank
  exchanged_columns<T> Q;
  exchanged_columns<SK> K;
  exchanged_columns<SV> V;
  exchanged_columns<T> O;
  exchanged_columns<T> log_sum_exp;
};

template <class T, class SK, class SV, class... Ps>
void attend_heads(rank_run& run, const rank_call<T, Ps...>& call, const rank_matrices<T, SK, SV>& m,
                  const mpi::partitions& at, const exchanged_heads<T, SK, SV>& room) {
  transfer& messages = run.messages();
  const int rank = run.comm().rank(), ranks = run.comm().size();
  room.Q.post_rows(messages, m.Q, at.queries, tag_queries);
  room.K.post_rows(messages, m.K, at.keys, tag_keys);
  room.V.post_rows(messages, m.V, at.keys, tag_values);
  messages.wait();
  run.work([&] {
    attention_call<T> c = call.heads_of(rank * room.heads, room.heads);
    const kernel_rows<T, SK> keys(room.K.all.view(), c.isa, call.wants_matrices());
    const kernel_rows<T, SV> values(room.V.all.view(), c.isa, call.wants_matrices());
    call.set_keys(c, keys, values, 0);
    // A rank without rows wants no log-sum-exp, but others may.
    const bool wanted = room.log_sum_exp.all.cols > 0;
    call.set_queries(c, {0, 0, 1, at.queries.rows()}, room.Q.all.view(), room.O.all.writable(),
                     wanted ? room.log_sum_exp.all.writable() : mutable_matrix_view<T>{});
    run.attend(c);
  });
  room.O.post_columns(messages, at.queries, tag_output);
  room.log_sum_exp.post_columns(messages, at.queries, tag_output);
  messages.wait();
  run.work([&] {
    room.O.take_columns(m.O, at.queries, rank, ranks);
    if (m.log_sum_exp.data) room.log_sum_exp.take_columns(m.log_sum_exp, at.queries, rank, ranks);
  });
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
