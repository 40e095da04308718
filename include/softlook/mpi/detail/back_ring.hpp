#pragma once

#include "softlook/mpi/detail/back_run.hpp"
#include "softlook/mpi/detail/settled_rows.hpp"
#include "softlook/mpi/detail/sum_tree.hpp"

// The way back where pieces of keys and values pass from rank to rank.
//
// Queries stay where their pieces lie. For every piece of queries and every piece of keys there is
// one call of the engine, the same on any number of ranks. dQ of a piece is the sum over pieces of
// keys, dK and dV the sum over pieces of queries, both in a binary tree over pieces. What the
// pieces of a rank give to keys of another goes straight there: a few nodes of the tree, one for
// each run of pieces that is whole in it, beside the work with the next bundle.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template <class T>
class back_ring {
 public:
  template <class... Ps>
  back_ring(rank_run& run, const rank_call<T, Ps...>& call, const mpi::partitions& at)
      : columns_{call.query_heads(), call.kv_heads(), call.whole().query_features(),
                 call.whole().values()},
        query_pieces_(call.whole().Q.rows, run.how().pieces, run.comm().size()),
        key_pieces_(call.whole().K.rows, run.how().pieces, run.comm().size()),
        at_(at),
        rank_(run.comm().rank()) {
    const int rank = rank_, ranks = run.comm().size();
    const auto hold = [&](index rows, index cols) {
      return hold_rows<T>(run.messages(), rows, cols);
    };
    const index wide = columns_.of_queries(), narrow = columns_.of_keys();
    own_queries_ = hold(at.queries.rows(rank), wide);
    queries_ = hold(query_pieces_.rows_of_bundle(rank), wide);
    dQ_ = hold(queries_.rows, columns_.query_heads * columns_.d);
    own_dQ_ = hold(own_queries_.rows, dQ_.cols);
    own_keys_ = hold(at.keys.rows(rank), narrow);
    for (int k = 0; k < (ranks > 1 ? 2 : 1); ++k) keys_[k] = hold(key_pieces_.most_rows(), narrow);
    const auto mine = key_pieces_.rows_of_bundle(rank);
    gradients_ = hold(mine, narrow);
    std::size_t most = 0;
    for (int r = 0; r < ranks; ++r) {
      nodes_.push_back(nodes_of_rank(query_pieces_, r));
      most = std::max(most, nodes_.back().size());
    }
    if (ranks == 1) return;
    sent_ = hold(index(nodes_[std::size_t(rank)].size()) * key_pieces_.most_rows(), narrow);
    received_ = hold(index(most) * mine, narrow);
  }

  template <class... Ps>
  void operator()(rank_run& run, const rank_call<T, Ps...>& call, const rank_gradients<T>& m) {
    transfer& messages = run.messages();
    const int rank = run.comm().rank(), ranks = run.comm().size();
    const settled_rows<T> of_queries(query_pieces_, at_.queries), of_keys(key_pieces_, at_.keys);
    run.work([&] {
      pack_queries(columns_, m, own_queries_);
      const mutable_matrix_view<T> KV = own_keys_.writable();
      copy_rows(m.K, KV.columns(0, m.K.cols));
      copy_rows(m.V, KV.columns(m.K.cols, m.V.cols));
    });
    of_queries.post_there(messages, own_queries_, queries_, tag_queries);
    of_keys.post_there(messages, own_keys_, bundle(0, rank), tag_keys);
    messages.wait();

    std::vector<sum_tree<T>> dQ(pieces_of_rank(rank), sum_tree<T>(key_pieces_.count()));
    sum_tree<T> dKV(query_pieces_.count());  // of this rank's keys
    const int next = (rank + 1) % ranks, before = (rank + ranks - 1) % ranks;
    const auto owner_at = [&](int step) { return (rank + ranks - step) % ranks; };
    for (int step = 0; step <= ranks; ++step) {
      const bool works = step < ranks, sums_travel = step > 1;  // those of the step before
      const int owner = owner_at(step), giver = (rank + step - 1) % ranks;
      if (step + 1 < ranks) {
        messages.receive(bundle(step + 1, owner_at(step + 1)).all(), before, tag_ring);
        messages.send(bundle(step, owner).all(), next, tag_ring);
      }
      if (sums_travel) {
        messages.receive(sums(received_, giver, rank).all.all(), giver, tag_output);
        messages.send(sums(sent_, rank, owner_at(step - 1)).all.all(), owner_at(step - 1),
                      tag_output);
      }
      sum_tree<T> of_step(query_pieces_.count());
      if (works)
        run.work([&] { meet(way_back<T, Ps...>(run, call), call, step, owner, dQ, of_step); });
      messages.wait();
      run.work([&] {
        if (sums_travel) take_sums(sums(received_, giver, rank), nodes_[std::size_t(giver)], dKV);
        if (step == 0)
          for (auto& [node, sum] : of_step.waiting()) dKV.put(node, std::move(sum));
        else if (works)
          pack_sums(of_step, sums(sent_, rank, owner));
      });
    }
    run.work([&] {
      index piece = 0;
      query_pieces_.for_each(rank, [&](index, range rows, index first) {
        write_sum(dQ[std::size_t(piece++)], dQ_.writable().rows_from(first, rows.count()));
      });
      write_sum(dKV, gradients_.writable());
    });
    of_queries.post_back(messages, dQ_, own_dQ_, tag_queries);
    of_keys.post_back(messages, gradients_, own_keys_, tag_keys);
    messages.wait();
    run.work([&] {
      const matrix_view<T> KV = own_keys_.view();
      copy_rows(own_dQ_.view(), m.dQ);
      copy_rows(KV.columns(0, m.dK.cols), m.dK);
      copy_rows(KV.columns(m.dK.cols, m.dV.cols), m.dV);
    });
  }

 private:
  [[nodiscard]] std::size_t pieces_of_rank(int rank) const {
    std::size_t count = 0;
    query_pieces_.for_each(rank, [&](index, range, index) { ++count; });
    return count;
  }
  [[nodiscard]] row_buffer<T> bundle(int step, int owner) const {
    const row_buffer<T>& place = keys_[step % 2];
    return {place.data, key_pieces_.rows_of_bundle(owner), place.cols};
  }
  /// What the queries of one rank give to the keys of another.
  [[nodiscard]] packed_sums<T> sums(const row_buffer<T>& place, int from, int owner) const {
    const index rows = key_pieces_.rows_of_bundle(owner);
    return {{place.data, index(nodes_[std::size_t(from)].size()) * rows, place.cols}, rows};
  }
  /// This rank's pieces of queries with a bundle of keys.
  template <class... Ps>
  void meet(const way_back<T, Ps...>& back, const rank_call<T, Ps...>& call, int step, int owner,
            std::vector<sum_tree<T>>& dQ, sum_tree<T>& dKV) const {
    const row_buffer<T> here = bundle(step, owner);
    const packed_queries<T> all = packed_queries<T>::of(columns_, queries_.view());
    const index features = columns_.kv_heads * columns_.d, values = columns_.kv_heads * columns_.e;
    std::size_t number = 0;
    query_pieces_.for_each(rank_, [&](index piece, range queries, index first) {
      sum_tree<T>& to_queries = dQ[number++];
      const packed_queries<T> q = all.rows_from(first, queries.count());
      typename sum_tree<T>::sum to_keys;
      key_pieces_.for_each(owner, [&](index key_piece, range keys, index first_key) {
        if (keys.empty() || queries.empty() ||
            !sees_any(call.whole(), {0, queries.begin, 1, queries.count()}, keys))
          return to_queries.put({0, key_piece}, {});
        if (!to_keys) {
          to_keys = dKV.room(here.rows, here.cols);
          to_keys->setZero();
        }
        const matrix_view<T> KV = here.view().rows_from(first_key, keys.count());
        const mutable_matrix_view<T> to =
            writable_view(*to_keys).rows_from(first_key, keys.count());
        row_major<T> dq = to_queries.room(queries.count(), dQ_.cols);
        back({0, columns_.kv_heads}, q, queries.begin, KV.columns(0, features),
             KV.columns(features, values), keys.begin, writable_view(dq), to.columns(0, features),
             to.columns(features, values));
        to_queries.put({0, key_piece}, std::move(dq));
      });
      dKV.put({0, piece}, std::move(to_keys));
    });
  }
  packed_columns columns_;
  ring_pieces query_pieces_;
  ring_pieces key_pieces_;
  mpi::partitions at_;
  int rank_;
  row_buffer<T> own_queries_, queries_, dQ_, own_dQ_, own_keys_, keys_[2], gradients_, sent_,
      received_;
  std::vector<std::vector<tree_node>> nodes_;  // of each rank's queries
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
