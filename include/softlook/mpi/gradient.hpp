#pragma once

#include <optional>

#include "softlook/gradient/attention.hpp"
#include "softlook/mpi/detail/back_gathered.hpp"
#include "softlook/mpi/detail/back_heads.hpp"
#include "softlook/mpi/detail/back_ring.hpp"
#include "softlook/mpi/detail/counted_pairs.hpp"
#include "softlook/mpi/sum_gradients.hpp"

// Not part of mpi.hpp: it brings the kernels of the way back.

SOFTLOOK_NAMESPACE_BEGIN
namespace mpi {

/// \addtogroup mpi
/// \{

/// Pieces of queries and of keys on the way back, where mpi::options do not say.
inline constexpr index gradient_pieces = 32;

/// The way back through attention() of a sequence whose rows lie on ranks: each gives its rows of
/// Q, K, V, of O and the log-sum-exp L, as attention_with_log_sum_exp() gave them, and of dO; and
/// gets its rows of
///   P = e^{S − L},  dV = Pᵀ dO,  dS = P ∘ (dO Vᵀ − D),  dQ = scale · dS K,  dK = scale · dSᵀ Q
/// of the whole. Collective. O and L are those over all keys: parts of a softmax would give other
/// gradients.
///
/// Masks, transforms, heads, sinks and dropout are those of the call, in positions of the whole
/// sequence, as on the way forward; scores are scaled_dot or dot. mpi::options.method, or the plan
/// of attention(), say how rows meet:
///   heads   the bits of attention_backward() of one process
///   gather  keys and values of one head after the other come to every rank; what a piece of
///           queries adds to dK and dV goes to the owners of the keys
///   ring    pieces of keys and values pass by, memory O(n/P); for a piece of queries and one of
///           keys there is a call of its own
/// By gather and ring pieces, mpi::options.pieces (32), are cut from the sequence evenly and lie on
/// ranks as a zigzag does (queries that lie elsewhere travel there first), and all sums over pieces
/// have the brackets of one binary tree: for a fixed number of pieces no bit depends on the number
/// of ranks, on the partition, or on what arrives first. At least 2·P pieces keep all ranks busy.
/// \see Liu et al., "Ring Attention", 2023; Jacobs et al., "DeepSpeed Ulysses", 2023.
/// Of shapes as attention_backward(), a rank's rows of each. A query without keys gives and gets
/// nothing; ranks may have no rows.
/// \throws shape_error, argument_error, std::bad_alloc  on all ranks, as attention(). mpi_error.
/// Cost: five products of n·m·d, shared, and C·m·(d + e) additions: pieces of less than some
/// hundred rows cost more than they are worth (n = 8192, d = 64, causal, gather: 16 pieces 1.2, 64
/// pieces 1.8 times the work of one call). A rank receives what it receives on the way forward, the
/// sums of dK and dV (two for each pair of ranks where ranks are a power of two and divide half of
/// the pieces, else up to 4·log₂ C), and rows of Q, dO and dQ that do not lie where their pieces
/// do.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          dense_expression L, dense_expression G, class... Ps>
[[nodiscard]] auto attention_backward(const communicator& comm, const Q& q, const K& k, const V& v,
                                      const O& o, const L& log_sum_exp, const G& dO,
                                      const partitions& at, const Ps&... policies) {
  constexpr const char* where = "mpi::attention_backward";
  return softlook::detail::with_rank_policies<Q, K, V>(
      [&]<class... Rest>(options how, const Rest&... ps) {
        using T = softlook::detail::scalar_of<Q>;
        using call_type = softlook::detail::rank_call<T, Rest...>;
        using score = typename softlook::detail::stated_policies<T, Rest...>::score_type;
        static_assert(softlook::detail::check_scalars<Q, K, V, O, L, G>());
        static_assert(
            std::is_same_v<score, scores::scaled_dot> || std::is_same_v<score, scores::dot>,
            "softlook: mpi::attention_backward() takes scaled_dot or dot scores; project "
            "queries and keys before the call");
        if (how.pieces == 0) how.pieces = gradient_pieces;
        softlook::detail::rank_run run(comm, where, how);
        const softlook::detail::readable<Q> queries(q);
        const softlook::detail::readable<K> keys(k);
        const softlook::detail::readable<V> values(v);
        const softlook::detail::readable<O> output(o);
        const softlook::detail::readable<L> logs(log_sum_exp);
        const softlook::detail::readable<G> dout(dO);
        attention_gradients<plain_matrix_like<Q>> to;
        softlook::detail::rank_gradients<T> m;
        std::optional<softlook::detail::back_gathered<T>> by_gather;
        std::optional<softlook::detail::back_heads<T>> by_heads;
        std::optional<softlook::detail::back_ring<T>> by_ring;
        const softlook::detail::agreed_call<T, Rest...> call(
            comm, where, q, k, v, at, how, false,
            [&](const call_type& c, softlook::detail::call_facts& f) {
              softlook::detail::attention_call<T> local = c.whole();
              local.Q.rows = q.rows();
              softlook::detail::backward_matrices<T> b;
              b.O = output.view();
              b.log_sum_exp = logs.view();
              b.dO = dout.view();
              softlook::detail::check_backward(local, b);
              to.dQ.resize(q.rows(), q.cols());
              to.dK.resize(k.rows(), k.cols());
              to.dV.resize(v.rows(), v.cols());
              m = {queries.view(),
                   keys.view(),
                   values.view(),
                   b.O,
                   b.log_sum_exp,
                   b.dO,
                   softlook::detail::writable_view(to.dQ),
                   softlook::detail::writable_view(to.dK),
                   softlook::detail::writable_view(to.dV)};
              const attention_plan plan = plan_attention(
                  softlook::detail::sizes_of_ranks(c, at, index(sizeof(T)), 64), how);
              f.same("the method", index(plan.method), "all ranks come to the same plan");
              if (plan.method == method::ring)
                by_ring.emplace(run, c, at);
              else if (plan.method == method::heads)
                by_heads.emplace(run, c, at);
              else
                by_gather.emplace(run, c, at);
            },
            ps...);
        if (by_ring)
          (*by_ring)(run, *call, m);
        else if (by_heads)
          (*by_heads)(run, *call, m);
        else
          (*by_gather)(run, *call, m);
        run.conclude();
        return to;
      },
      policies...);
}

/// \}

}  // namespace mpi
SOFTLOOK_NAMESPACE_END
