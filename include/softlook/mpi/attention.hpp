#pragma once

#include "softlook/attention/attention.hpp"
#include "softlook/mpi/detail/counted_pairs.hpp"
#include "softlook/mpi/detail/gathered.hpp"
#include "softlook/mpi/detail/heads_exchanged.hpp"
#include "softlook/mpi/detail/ring.hpp"
#include "softlook/mpi/plan.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Whether the output of a rank may be written while its inputs are read.
template <class T, class QView, class KView, class VView>
void check_rank_output(const char* where, const mutable_matrix_view<T>& O, const QView& Q,
                       const KView& K, const VView& V, index columns) {
  check_sizes(where, "O.rows()", O.rows, "Q.rows()", Q.rows, "one output row for each query");
  check_sizes(where, "O.cols()", O.cols, "V.cols() of a head times the query heads", columns,
              "an output row holds a value for each query head");
  const auto check = [&](const char* name, const auto& X) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(X)>, matrix_view<T>>)
      check_overlap(where, name, O, X);
  };
  check("Q", Q);
  check("K", K);
  check("V", V);
}

/// A call over ranks. `room()` makes or shows the output, before ranks have agreed.
template <mpi::method Pinned, class Q, class K, class V, class Room, class... Ps>
void attend_ranks(const char* where, const mpi::communicator& comm, const Q& q, const K& k,
                  const V& v, const mpi::partitions& at, mpi::options how, const Room& room,
                  const Ps&... ps) {
  using T = arithmetic<scalar_of<Q>>;
  using SK = typename local_rows<K, T>::stored;
  using SV = typename local_rows<V, T>::stored;
  using SO = typename Room::scalar;
  if constexpr (Pinned != mpi::method::automatic) how.method = Pinned;
  if (how.pieces == 0) how.pieces = mpi::ring_pieces;
  rank_run run(comm, where, how);
  std::optional<queries_as<Q, T>> queries;
  std::optional<local_rows<K, T>> keys;
  std::optional<local_rows<V, T>> values;
  std::optional<gathered_heads<SK, SV>> of_gather;
  std::optional<exchanged_heads<T, SK, SV>> of_heads;
  std::optional<ring_room<SK, SV>> of_ring;
  rank_matrices<T, SK, SV> m;
  mutable_matrix_view<SO> O;
  row_major<T> wide;
  const agreed_call<T, Ps...> call(
      comm, where, q, k, v, at, how, false,
      [&](const rank_call<T, Ps...>& c, call_facts& f) {
        queries.emplace(q);
        keys.emplace(k, c.whole().isa);
        values.emplace(v, c.whole().isa);
        O = room.output(c.whole().values() * c.query_heads());
        m = {queries->view(), keys->view(), values->view(), {}, room.log_sum_exp(c.query_heads())};
        check_rank_output(where, O, m.Q, m.K, m.V, c.whole().values() * c.query_heads());
        if constexpr (std::is_same_v<SO, T>) {
          m.O = O;
        } else {
          wide.resize(O.rows, O.cols);
          m.O = writable_view(wide);
        }
        const bool wanted = Room::wants_log_sum_exp;
        const mpi::attention_plan plan = mpi::plan_attention(
            sizes_of_ranks(c, at, index(std::max(sizeof(SK), sizeof(SV))), 64), how);
        f.same("the method", index(plan.method), "all ranks come to the same plan");
        if (plan.method == mpi::method::ring)
          of_ring.emplace(run, c, at);
        else if (plan.method == mpi::method::heads)
          of_heads.emplace(run, c, at, wanted);
        else
          of_gather.emplace(run, c);
      },
      ps...);
  if (of_ring)
    attend_ring(run, *call, m, at, *of_ring);
  else if (of_heads)
    attend_heads(run, *call, m, at, *of_heads);
  else
    attend_gathered(run, *call, m, at, *of_gather);
  run.conclude();
  if constexpr (!std::is_same_v<SO, T>)
    for (index i = 0; i < O.rows; ++i)
      for (index j = 0; j < O.cols; ++j) O(i, j) = SO(wide(i, j));
}

/// An output that a call makes.
template <class Matrix>
struct made_output {
  using scalar = typename Matrix::Scalar;
  static constexpr bool wants_log_sum_exp = false;
  Matrix& O;
  index rows;
  [[nodiscard]] mutable_matrix_view<scalar> output(index columns) const {
    O.resize(rows, columns);
    return writable_view(O);
  }
  [[nodiscard]] static mutable_matrix_view<arithmetic<scalar>> log_sum_exp(index) { return {}; }
};
template <class State>
struct made_state {
  using scalar = typename State::scalar;
  static constexpr bool wants_log_sum_exp = true;
  State& state;
  index rows;
  [[nodiscard]] mutable_matrix_view<scalar> output(index columns) const {
    state.output.resize(rows, columns);
    return writable_view(state.output);
  }
  [[nodiscard]] mutable_matrix_view<arithmetic<scalar>> log_sum_exp(index heads) const {
    state.log_sum_exp.resize(rows, heads);
    return writable_view(state.log_sum_exp);
  }
};
/// One that the caller has.
template <class Matrix>
struct given_output {
  using scalar = scalar_of<Matrix>;
  static constexpr bool wants_log_sum_exp = false;
  Matrix& O;
  [[nodiscard]] mutable_matrix_view<scalar> output(index) const { return writable_view(O); }
  [[nodiscard]] static mutable_matrix_view<arithmetic<scalar>> log_sum_exp(index) { return {}; }
};

template <mpi::method Pinned, class Q, class K, class V, class... Ps>
[[nodiscard]] auto output_of_ranks(const char* where, const mpi::communicator& comm, const Q& q,
                                   const K& k, const V& v, const mpi::partitions& at,
                                   const Ps&... policies) {
  return with_rank_policies<Q, K, V>(
      [&](const mpi::options& how, const auto&... ps) {
        plain_matrix_like<Q> o;
        attend_ranks<Pinned>(where, comm, q, k, v, at, how,
                             made_output<plain_matrix_like<Q>>{o, q.rows()}, ps...);
        return o;
      },
      policies...);
}

template <mpi::method Pinned, class Q, class K, class V, class... Ps>
[[nodiscard]] auto state_of_ranks(const char* where, const mpi::communicator& comm, const Q& q,
                                  const K& k, const V& v, const mpi::partitions& at,
                                  const Ps&... policies) {
  return with_rank_policies<Q, K, V>(
      [&](const mpi::options& how, const auto&... ps) {
        using state = state_of<plain_matrix_like<Q>, std::remove_cvref_t<decltype(ps)>...>;
        state out;
        attend_ranks<Pinned>(where, comm, q, k, v, at, how, made_state<state>{out, q.rows()},
                             ps...);
        return out;
      },
      policies...);
}

}  // namespace detail
namespace mpi {

/// \addtogroup mpi
/// \{

/// attention() of a sequence whose rows lie on ranks: each gives its rows of Q, K and V, in the
/// order of the partition, and gets its rows of
///   O = softmax(scale · Q Kᵀ) V
/// of the whole. Collective. With `at` of one partition, or of two where keys are not the queries'
/// own tokens (cross attention).
///
/// Masks and transforms are asked in positions of the whole sequence, so each of them is given as
/// to one process; matrices in policies are those of the whole. Heads, dropout, sinks, executors,
/// options and stored rows as in attention(); rows of 16 bits travel as they are.
///
/// By gather or by heads (mpi::options) a rank's rows have the bits that attention() of one process
/// gives them with the kernel that it takes, whatever the number of ranks and the partition; where
/// not even one head fits into machine.memory the call is ring_attention(). Instruction sets of
/// different machines: all take the lowest.
/// \param policies  those of attention() but frame, segments and padded_batch; mpi::options.
/// \throws shape_error, argument_error, std::bad_alloc  the same on all ranks, and before anything
///         was sent, where arguments are wrong on one of them or differ from rank to rank; what a
///         task throws is thrown on all ranks once all messages have arrived. mpi_error.
/// Messages are moved by the calling thread, between tasks: an executor that leaves it without any
/// moves them only before and behind each head.
/// Cost: see attention_plan.
template <dense_expression Q, row_expression K, row_expression V, class... Ps>
[[nodiscard]] auto attention(const communicator& comm, const Q& q, const K& k, const V& v,
                             const partitions& at, const Ps&... policies) {
  return softlook::detail::output_of_ranks<method::automatic>("mpi::attention", comm, q, k, v, at,
                                                              policies...);
}

/// attention() into this rank's rows, a matrix, block or map that is never resized.
template <dense_expression Q, row_expression K, row_expression V, dense_expression O, class... Ps>
void attention_into(const communicator& comm, const Q& q, const K& k, const V& v, O&& o,
                    const partitions& at, const Ps&... policies) {
  softlook::detail::with_rank_policies<Q, K, V>(
      [&](const options& how, const auto&... ps) {
        static_assert(std::is_same_v<softlook::detail::arithmetic<softlook::detail::scalar_of<O>>,
                                     softlook::detail::arithmetic<softlook::detail::scalar_of<Q>>>,
                      "softlook: Q, K, V and the output must share one scalar type");
        softlook::detail::attend_ranks<method::automatic>(
            "mpi::attention_into", comm, q, k, v, at, how,
            softlook::detail::given_output<std::remove_reference_t<O>>{o}, ps...);
      },
      policies...);
}

/// attention() and the natural log-sum-exp of this rank's rows: a vector, or with heads{…} a row of
/// one for each query head.
template <dense_expression Q, row_expression K, row_expression V, class... Ps>
[[nodiscard]] auto attention_with_log_sum_exp(const communicator& comm, const Q& q, const K& k,
                                              const V& v, const partitions& at,
                                              const Ps&... policies) {
  return softlook::detail::state_of_ranks<method::automatic>("mpi::attention_with_log_sum_exp",
                                                             comm, q, k, v, at, policies...);
}

/// attention() by a ring: pieces of keys and values, mpi::options{.pieces = C} of them, pass from
/// rank to rank beside the work, and the state of each piece is merged with those of others in a
/// binary tree over pieces. So memory is O(n/P) for each rank, and for a fixed number of pieces no
/// bit depends on the number of ranks, on the partition, or on which piece came first; they are not
/// those of attention(), which rounds once for all keys. Pieces are cut from the sequence evenly,
/// and lie on ranks as a zigzag does: an even share of what a causal mask leaves in every step;
/// rows that lie elsewhere travel there first. Take 2·P pieces at least, or some ranks have none,
/// and not many more than that where keys are few: merging the states of a piece takes as long as
/// work on some 80 keys.
/// \throws  as mpi::attention().
/// Memory: two buffers of m/P rows of keys and values, and at most 1 + log₂ C states of its rows.
template <dense_expression Q, row_expression K, row_expression V, class... Ps>
[[nodiscard]] auto ring_attention(const communicator& comm, const Q& q, const K& k, const V& v,
                                  const partitions& at, const Ps&... policies) {
  return softlook::detail::output_of_ranks<method::ring>("mpi::ring_attention", comm, q, k, v, at,
                                                         policies...);
}

/// ring_attention() and the natural log-sum-exp of this rank's rows.
template <dense_expression Q, row_expression K, row_expression V, class... Ps>
[[nodiscard]] auto ring_attention_with_log_sum_exp(const communicator& comm, const Q& q, const K& k,
                                                   const V& v, const partitions& at,
                                                   const Ps&... policies) {
  return softlook::detail::state_of_ranks<method::ring>("mpi::ring_attention_with_log_sum_exp",
                                                        comm, q, k, v, at, policies...);
}

/// What attention() of these arguments would do, and what it costs, without doing it. Not
/// collective; for machines that are elsewhere see plan_attention(attention_sizes).
/// \throws  as attention(), on this rank.
template <dense_expression Q, row_expression K, row_expression V, class... Ps>
[[nodiscard]] attention_plan plan_attention(const Q& q, const K& k, const V& v,
                                            const partitions& at, const Ps&... policies) {
  return softlook::detail::with_rank_policies<Q, K, V>(
      [&](const options& how, const auto&... ps) {
        using T = softlook::detail::arithmetic<softlook::detail::scalar_of<Q>>;
        const auto bytes = index(std::max(sizeof(softlook::detail::scalar_of<K>),
                                          sizeof(softlook::detail::scalar_of<V>)));
        const softlook::detail::rank_call<T, std::remove_cvref_t<decltype(ps)>...> call(
            "mpi::plan_attention",
            {at.queries.rows(), at.keys.rows(), q.cols(), k.cols(), v.cols()}, ps...);
        return plan_attention(softlook::detail::sizes_of_ranks(call, at, bytes, 4096), how);
      },
      policies...);
}

/// \}

}  // namespace mpi
SOFTLOOK_NAMESPACE_END
