#pragma once

#include "softlook/mpi/detail/rank_call.hpp"
#include "softlook/mpi/plan.hpp"

// What a plan must know of a call.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// How much of all pairs a mask leaves, and how evenly they are shared: by the ranges of keys of
/// some rows of each rank.
template <class T>
void count_pairs(const attention_call<T>& whole, const mpi::partition& queries, index rows_of_rank,
                 mpi::attention_sizes& s) {
  double all = 0, most = 0;
  for (int rank = 0; rank < queries.ranks(); ++rank) {
    double pairs = 0;
    for (const mpi::row_run& run : queries.runs(rank)) {
      const index step = std::max<index>(1, run.count / std::max<index>(rows_of_rank, 1));
      for (index i = std::min(step / 2, run.count - 1); i < run.count; i += step) {
        const index at = run.global + i * run.stride;
        const range keys = intersection(
            whole.policy.mask.key_range(whole.policy.mask.mask, {at, at + 1}, whole.problem_of(0)),
            {0, whole.K.rows});
        pairs += double(keys.count()) * double(std::min(step, run.count - (i - step / 2)));
      }
    }
    all += pairs;
    most = std::max(most, pairs);
  }
  const double possible = double(whole.Q.rows) * double(whole.K.rows);
  s.live = possible > 0 ? all / possible : 0;
  s.busiest = all > 0 ? most * queries.ranks() / all : 1;
}

template <class T, class... Ps>
[[nodiscard]] mpi::attention_sizes sizes_of_ranks(const rank_call<T, Ps...>& call,
                                                  const mpi::partitions& at, index scalar_bytes,
                                                  index rows_of_rank) {
  const attention_call<T>& whole = call.whole();
  mpi::attention_sizes s{.queries = whole.Q.rows,
                         .keys = whole.K.rows,
                         .features = whole.key_features(),
                         .values = whole.values(),
                         .query_heads = whole.query_heads,
                         .kv_heads = whole.kv_heads,
                         .scalar_bytes = scalar_bytes,
                         .ranks = at.keys.ranks()};
  s.runs = at.keys.kind() == mpi::partition_kind::zigzag ? 2 : 1;
  count_pairs(whole, at.queries, rows_of_rank, s);
  return s;
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
