#pragma once

#include "softlook/mpi/detail/rank_run.hpp"

// Keys and values of one head after the other on every rank, those of the next beside the work with
// these.
//   \see Dubey et al., "The Llama 3 Herd of Models", 2024, section 3.3.2.
//
// A rank receives m/P rows of d + e numbers from each other one for a head, once: nothing that a
// ring would not move, without its P − 1 waits. In memory are two heads of m·(d + e).

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Room for the keys and values of two heads.
template <class SK, class SV>
class gathered_heads {
 public:
  template <class T, class... Ps>
  gathered_heads(rank_run& run, const rank_call<T, Ps...>& call) {
    if (run.comm().size() == 1) return;
    const index m = call.whole().K.rows;
    for (index h = 0; h < std::min<index>(call.kv_heads(), 2); ++h) {
      K[h] = hold_rows<SK>(run.messages(), m, call.whole().key_features());
      V[h] = hold_rows<SV>(run.messages(), m, call.whole().values());
    }
  }
  row_buffer<SK> K[2];
  row_buffer<SV> V[2];
};

/// The queries of this rank with the keys of one head.
template <class T, class SK, class SV, class... Ps>
void attend_head(rank_run& run, const rank_call<T, Ps...>& call, const rank_matrices<T, SK, SV>& m,
                 const mpi::partition& queries, index head, const matrix_view<SK>& K,
                 const matrix_view<SV>& V) {
  attention_call<T> c = call.heads_of(head, 1);
  const kernel_rows<T, SK> keys(K, c.isa, call.wants_matrices());
  const kernel_rows<T, SV> values(V, c.isa, call.wants_matrices());
  call.set_keys(c, keys, values, 0);
  const index g = call.group(), d = call.whole().query_features(), e = call.whole().values();
  const auto lse = m.log_sum_exp.data ? m.log_sum_exp.columns(head * g, g) : m.log_sum_exp;
  for (const mpi::row_run& rows : queries.runs(run.comm().rank())) {
    call.set_queries(c, rows, m.Q.columns(head * g * d, g * d), m.O.columns(head * g * e, g * e),
                     lse);
    run.attend(c);
  }
}

template <class T, class SK, class SV, class... Ps>
void attend_gathered(rank_run& run, const rank_call<T, Ps...>& call,
                     const rank_matrices<T, SK, SV>& m, const mpi::partitions& at,
                     const gathered_heads<SK, SV>& room) {
  const int rank = run.comm().rank();
  const index heads = call.kv_heads(), d = call.whole().key_features(), e = call.whole().values();
  const auto keys_of = [&](index h) { return m.K.columns(h * d, d); };
  const auto values_of = [&](index h) { return m.V.columns(h * e, e); };
  if (run.comm().size() == 1)
    return run.work([&] {
      for (index h = 0; h < heads; ++h)
        attend_head(run, call, m, at.queries, h, keys_of(h), values_of(h));
    });
  const auto post = [&](index h) {
    pack_own(keys_of(h), room.K[h % 2], at.keys, rank);
    pack_own(values_of(h), room.V[h % 2], at.keys, rank);
    post_gather(run.messages(), room.K[h % 2], at.keys, tag_keys);
    post_gather(run.messages(), room.V[h % 2], at.keys, tag_values);
  };
  post(0);
  run.messages().wait();
  for (index h = 0; h < heads; ++h) {
    if (h + 1 < heads) post(h + 1);
    run.work([&] {
      attend_head(run, call, m, at.queries, h, room.K[h % 2].view(), room.V[h % 2].view());
    });
    run.messages().wait();
  }
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
