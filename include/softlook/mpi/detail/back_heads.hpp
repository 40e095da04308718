#pragma once

#include "softlook/mpi/detail/back_run.hpp"
#include "softlook/mpi/detail/heads_exchanged.hpp"

// The way back with some heads of all rows on every rank: one call of the engine, which has the
// bits of one process.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template <class T>
class back_heads {
 public:
  template <class... Ps>
  back_heads(rank_run& run, const rank_call<T, Ps...>& call, const mpi::partitions& at)
      : columns_{call.query_heads(), call.kv_heads(), call.whole().query_features(),
                 call.whole().values()},
        at_(at),
        heads_(call.kv_heads() / run.comm().size()),
        minus_D_(at.queries.rows(run.comm().rank()), columns_.query_heads),
        Q_(of(run, at.queries, query_heads() * columns_.d)),
        dO_(of(run, at.queries, query_heads() * columns_.e)),
        log_sum_exp_(of(run, at.queries, query_heads())),
        D_(of(run, at.queries, query_heads())),
        dQ_(of(run, at.queries, query_heads() * columns_.d)),
        K_(of(run, at.keys, heads_ * columns_.d)),
        V_(of(run, at.keys, heads_ * columns_.e)),
        dK_(of(run, at.keys, heads_ * columns_.d)),
        dV_(of(run, at.keys, heads_ * columns_.e)) {}

  template <class... Ps>
  void operator()(rank_run& run, const rank_call<T, Ps...>& call, const rank_gradients<T>& m) {
    transfer& messages = run.messages();
    const int rank = run.comm().rank(), ranks = run.comm().size();
    make_minus_dots(columns_, m.O, m.dO, writable_view(minus_D_));
    Q_.post_rows(messages, m.Q, at_.queries, tag_queries);
    dO_.post_rows(messages, m.dO, at_.queries, tag_output);
    log_sum_exp_.post_rows(messages, m.log_sum_exp, at_.queries, tag_output);
    D_.post_rows(messages, view_of(minus_D_), at_.queries, tag_output);
    K_.post_rows(messages, m.K, at_.keys, tag_keys);
    V_.post_rows(messages, m.V, at_.keys, tag_values);
    messages.wait();
    run.work([&] {
      const packed_queries<T> q{Q_.all.view(), dO_.all.view(), log_sum_exp_.all.view(),
                                D_.all.view()};
      way_back<T, Ps...>(run, call)({rank * heads_, (rank + 1) * heads_}, q, 0, K_.all.view(),
                                    V_.all.view(), 0, dQ_.all.writable(), dK_.all.writable(),
                                    dV_.all.writable());
    });
    dQ_.post_columns(messages, at_.queries, tag_queries);
    dK_.post_columns(messages, at_.keys, tag_keys);
    dV_.post_columns(messages, at_.keys, tag_values);
    messages.wait();
    run.work([&] {
      dQ_.take_columns(m.dQ, at_.queries, rank, ranks);
      dK_.take_columns(m.dK, at_.keys, rank, ranks);
      dV_.take_columns(m.dV, at_.keys, rank, ranks);
    });
  }

 private:
  [[nodiscard]] static exchanged_columns<T> of(rank_run& run, const mpi::partition& at,
                                               index columns) {
    return {run.messages(), at.rows(run.comm().rank()), at.rows(), columns};
  }
  [[nodiscard]] index query_heads() const {
    return heads_ * (columns_.query_heads / columns_.kv_heads);
  }

  packed_columns columns_;
  mpi::partitions at_;
  index heads_;  // of keys, of a rank
  row_major<T> minus_D_;
  exchanged_columns<T> Q_, dO_, log_sum_exp_, D_, dQ_, K_, V_, dK_, dV_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
