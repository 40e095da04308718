#pragma once

#include "softlook/mpi/detail/back_run.hpp"
#include "softlook/mpi/detail/settled_rows.hpp"
#include "softlook/mpi/detail/sum_tree.hpp"

// The way back with the keys and values of one head after the other on every rank.
//
// There is one call of the engine for each piece of queries, with all keys, so dQ is whole; dK and
// dV are sums over pieces of queries in a binary tree, of which every rank sends to each other the
// few nodes that its pieces make, beside the work with the next head.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template <class T>
class back_gathered {
 public:
  template <class... Ps>
  back_gathered(rank_run& run, const rank_call<T, Ps...>& call, const mpi::partitions& at)
      : columns_{call.query_heads(), call.kv_heads(), call.whole().query_features(),
                 call.whole().values()},
        pieces_(call.whole().Q.rows, run.how().pieces, run.comm().size()),
        at_(at),
        rank_(run.comm().rank()),
        ranks_(run.comm().size()) {
    const auto hold = [&](index rows, index cols) {
      return hold_rows<T>(run.messages(), rows, cols);
    };
    const index m = call.whole().K.rows, row = columns_.d + columns_.e;
    own_queries_ = hold(at.queries.rows(rank_), columns_.of_queries());
    queries_ = hold(pieces_.rows_of_bundle(rank_), columns_.of_queries());
    dQ_ = hold(queries_.rows, columns_.query_heads * columns_.d);
    own_dQ_ = hold(own_queries_.rows, dQ_.cols);
    for (int k = 0; k < (columns_.kv_heads > 1 ? 2 : 1); ++k) keys_[k] = hold(m, row);
    for (int r = 0; r < ranks_; ++r) {
      nodes_.push_back(nodes_of_rank(pieces_, r));
      const index nodes = index(nodes_.back().size()), own = at.keys.rows(rank_);
      if (r == rank_) sent_ = {hold(nodes * m, row), m};
      received_.push_back({hold(r == rank_ ? 0 : nodes * own, row), own});
    }
  }

  template <class... Ps>
  void operator()(rank_run& run, const rank_call<T, Ps...>& call, const rank_gradients<T>& m) {
    transfer& messages = run.messages();
    const index heads = columns_.kv_heads;
    const settled_rows<T> of_queries(pieces_, at_.queries);
    run.work([&] { pack_queries(columns_, m, own_queries_); });
    of_queries.post_there(messages, own_queries_, queries_, tag_queries);
    post_keys(messages, m, 0);
    messages.wait();
    for (index head = 0; head <= heads; ++head) {
      if (head + 1 < heads) post_keys(messages, m, head + 1);
      if (head > 0) post_sums(messages);
      sum_tree<T> tree(pieces_.count());
      if (head < heads) run.work([&] { meet(way_back<T, Ps...>(run, call), call, head, tree); });
      messages.wait();
      run.work([&] {
        if (head > 0) write_head(m, head - 1);
        if (head < heads) pack_sums(tree, sent_);
      });
    }
    of_queries.post_back(messages, dQ_, own_dQ_, tag_queries);
    messages.wait();
    run.work([&] { copy_rows(own_dQ_.view(), m.dQ); });
  }

 private:
  /// This rank's rows of [K | V] of one head.
  void post_keys(transfer& messages, const rank_gradients<T>& m, index head) const {
    const row_buffer<T>& all = keys_[head % 2];
    const mutable_matrix_view<T> KV = all.writable();
    const matrix_view<T> K = m.K.columns(head * columns_.d, columns_.d),
                         V = m.V.columns(head * columns_.e, columns_.e);
    for (const mpi::row_run& run : at_.keys.runs(rank_))
      for (index k = 0; k < run.count; ++k) {
        const mutable_matrix_view<T> row = KV.rows_from(run.global + k * run.stride, 1);
        copy_rows(K.rows_from(run.local + k, 1), row.columns(0, K.cols));
        copy_rows(V.rows_from(run.local + k, 1), row.columns(K.cols, V.cols));
      }
    post_gather(messages, all, at_.keys, tag_keys);
  }
  /// Nodes of this rank to the owners of the keys.
  void post_sums(transfer& messages) const {
    for_each_peer(
        messages.comm(),
        [&](int from) {
          for (std::size_t k = 0; k < nodes_[std::size_t(from)].size(); ++k)
            for (const mpi::row_run& run : at_.keys.runs(rank_))
              messages.receive(
                  received_[std::size_t(from)].node(k).all().from(run.local, run.count), from,
                  tag_output);
        },
        [&](int to) {
          for (std::size_t k = 0; k < nodes_[std::size_t(rank_)].size(); ++k)
            for (const mpi::row_run& run : at_.keys.runs(to))
              messages.send(sent_.node(k).at(run), to, tag_output);
        });
  }
  /// dK and dV of one head, of this rank's rows.
  void write_head(const rank_gradients<T>& m, index head) const {
    sum_tree<T> tree(pieces_.count());
    for (int from = 0; from < ranks_; ++from) {
      const std::vector<tree_node>& nodes = nodes_[std::size_t(from)];
      if (from != rank_) {
        take_sums(received_[std::size_t(from)], nodes, tree);
        continue;
      }
      for (std::size_t k = 0; k < nodes.size(); ++k) {
        row_major<T> sum = tree.room(at_.keys.rows(rank_), columns_.d + columns_.e);
        for (const mpi::row_run& run : at_.keys.runs(rank_))
          unpack_rows(sent_.node(k).at(run), writable_view(sum).rows_from(run.local, run.count));
        tree.put(nodes[k], std::move(sum));
      }
    }
    const auto& sum = tree.all();
    const mutable_matrix_view<T> dK = m.dK.columns(head * columns_.d, columns_.d),
                                 dV = m.dV.columns(head * columns_.e, columns_.e);
    if (!sum) {
      clear(dK);
      return clear(dV);
    }
    copy_rows(view_of(*sum).columns(0, dK.cols), dK);
    copy_rows(view_of(*sum).columns(dK.cols, dV.cols), dV);
  }

  /// This rank's pieces of queries with all keys of one head.
  template <class... Ps>
  void meet(const way_back<T, Ps...>& back, const rank_call<T, Ps...>& call, index head,
            sum_tree<T>& tree) const {
    const index g = call.group(), d = columns_.d, e = columns_.e;
    const matrix_view<T> KV = keys_[head % 2].view();
    const packed_queries<T> all =
        packed_queries<T>::of(columns_, queries_.view()).heads(columns_, head * g, g);
    const mutable_matrix_view<T> dQ = dQ_.writable().columns(head * g * d, g * d);
    pieces_.for_each(rank_, [&](index piece, range queries, index first) {
      const mutable_matrix_view<T> dq = dQ.rows_from(first, queries.count());
      if (queries.empty() ||
          !sees_any(call.whole(), {0, queries.begin, 1, queries.count()}, {0, KV.rows})) {
        clear(dq);
        return tree.put({0, piece}, {});
      }
      row_major<T> sum = tree.room(KV.rows, KV.cols);
      const mutable_matrix_view<T> to = writable_view(sum);
      back({head, head + 1}, all.rows_from(first, queries.count()), queries.begin, KV.columns(0, d),
           KV.columns(d, e), 0, dq, to.columns(0, d), to.columns(d, e));
      tree.put({0, piece}, std::move(sum));
    });
  }

  packed_columns columns_;
  ring_pieces pieces_;  // of the queries
  mpi::partitions at_;
  int rank_;
  int ranks_;
  row_buffer<T> own_queries_, queries_, dQ_, own_dQ_, keys_[2];
  packed_sums<T> sent_;
  std::vector<packed_sums<T>> received_;       // from each rank
  std::vector<std::vector<tree_node>> nodes_;  // of each rank's queries
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
