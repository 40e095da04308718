#pragma once

#include "softlook/attention/attention.hpp"
#include "softlook/mpi/detail/ring.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Some neighbouring keys of one piece that lie on one rank.
struct key_fragment {
  int rank;
  tree_node node;    // of its piece in the tree
  mpi::row_run run;  // of the rank's rows
  bool whole;        // all of the piece
};

/// Keys as they lie on ranks, cut into pieces of a fixed number: neighbours, or of a striped
/// partition every C-th. The tree over stripes takes them in the order of their reversed bits where
/// C is a power of two, so that those of a rank are neighbours in it.
[[nodiscard]] inline std::vector<key_fragment> fragments_of(const mpi::partition& keys, index C) {
  std::vector<key_fragment> all;
  const int P = keys.ranks();
  if (keys.kind() == mpi::partition_kind::striped && C % P == 0) {
    const bool reversed = std::has_single_bit(std::size_t(C));
    const int bits = int(std::bit_width(std::size_t(C))) - 1;
    for (index piece = 0; piece < C; ++piece) {
      index number = piece;
      if (reversed) {
        number = 0;
        for (int b = 0; b < bits; ++b) number |= (piece >> b & 1) << (bits - 1 - b);
      }
      all.push_back({int(piece % P),
                     {0, number},
                     {piece / P, piece, C, std::max<index>(keys.rows() - piece + C - 1, 0) / C},
                     true});
    }
    return all;
  }
  for (index piece = 0; piece < C; ++piece) {
    const range rows = cut_evenly(keys.rows(), C, piece);
    for (int rank = 0; rank < P; ++rank)
      for (const mpi::row_run& run : keys.runs(rank))
        if (const mpi::row_run part = part_of_run(run, rows); part.count > 0)
          all.push_back({rank, {0, piece}, part, part.count == rows.count()});
  }
  std::stable_sort(all.begin(), all.end(), [](const key_fragment& a, const key_fragment& b) {
    return a.node.number != b.node.number ? a.node.number < b.node.number
                                          : a.run.global < b.run.global;
  });
  return all;
}

/// What a rank sends: nodes of the tree that it merged by itself, and fragments of pieces that it
/// shares with others, in an order that every rank knows.
struct sent_states {
  std::vector<tree_node> nodes;
  std::vector<std::size_t> fragments;  // of all
  [[nodiscard]] index count() const { return index(nodes.size() + fragments.size()); }
};
[[nodiscard]] inline sent_states states_of(int rank, const std::vector<key_fragment>& all,
                                           index C) {
  sent_states s;
  waiting_nodes<bool> nodes(C);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].rank != rank) continue;
    if (all[i].whole)
      nodes.put(all[i].node, true, [](bool&, bool&&) {});
    else
      s.fragments.push_back(i);
  }
  for (const auto& [node, state] : nodes.all()) s.nodes.push_back(node);
  return s;
}

/// States of the same rows behind one another in memory: outputs, then log-sum-exps.
template <class T>
struct packed_states {
  index rows, columns, heads;
  [[nodiscard]] index numbers() const { return rows * (columns + heads); }
  void write(const std::optional<rank_state<T>>& s, T* to) const {
    if (s) {
      std::copy_n(s->O.data(), rows * columns, to);
      std::copy_n(s->log_sum_exp.data(), rows * heads, to + rows * columns);
    } else {
      std::fill_n(to, rows * columns, T(0));
      std::fill_n(to + rows * columns, rows * heads, -std::numeric_limits<T>::infinity());
    }
  }
  void read(const T* from, rank_state<T>& s) const {
    std::copy_n(from, rows * columns, s.O.data());
    std::copy_n(from + rows * columns, rows * heads, s.log_sum_exp.data());
  }
};

template <class T, class SK, class SV, class... Ps>
void attend_decoding(rank_run& run, const rank_call<T, Ps...>& call,
                     const rank_matrices<T, SK, SV>& m, const std::vector<key_fragment>& fragments,
                     const std::vector<sent_states>& sent, T* states) {
  const index C = run.how().pieces;
  const int rank = run.comm().rank();
  const packed_states<T> packed{m.Q.rows, m.O.cols, call.query_heads()};
  const std::vector<mpi::row_run> queries{{0, 0, 1, m.Q.rows}};
  std::vector<int> counts, firsts;
  index all = 0;
  for (const sent_states& s : sent) {
    firsts.push_back(int(all));
    counts.push_back(int(s.count()));
    all += s.count();
  }
  T* const mine = states + index(firsts[std::size_t(rank)]) * packed.numbers();
  run.work([&] {
    state_tree<T> tree(C);
    T* shared = mine + index(sent[std::size_t(rank)].nodes.size()) * packed.numbers();
    for (const key_fragment& f : fragments) {
      if (f.rank != rank) continue;
      // Stripes of a rank are C / P of its rows apart.
      const index apart = f.run.stride > 1 ? f.run.stride / run.comm().size() : 1;
      const auto rows_of = [&](auto X) {
        X = X.rows_from(f.run.local, f.run.count);
        X.row_stride *= apart;
        return X;
      };
      auto state = attend_piece(run, call, m.Q, queries, rows_of(m.K), rows_of(m.V), f.run, tree);
      if (f.whole) {
        tree.put(f.node, std::move(state));
      } else {
        packed.write(state, shared);
        shared += packed.numbers();
      }
    }
    T* to = mine;
    for (const auto& [node, state] : tree.waiting()) {
      packed.write(state, to);
      to += packed.numbers();
    }
  });
  if (run.comm().size() > 1) {
    const datatype row = datatype::row(packed.numbers() * index(sizeof(T)), rank);
    check_mpi(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, states, counts.data(),
                             firsts.data(), row.get(), run.comm().handle()),
              "MPI_Allgatherv", rank);
  }
  run.work([&] {
    state_tree<T> tree(C);
    const auto state_at = [&](index i) {
      rank_state<T> s = tree.room(packed.rows, packed.columns, packed.heads);
      packed.read(states + i * packed.numbers(), s);
      return s;
    };
    std::vector<std::pair<std::size_t, index>> shared;  // fragments, and where their states are
    std::vector<std::pair<tree_node, index>> nodes;
    index at = 0;
    for (const sent_states& s : sent) {
      for (const tree_node& node : s.nodes) nodes.emplace_back(node, at++);
      for (const std::size_t f : s.fragments) shared.emplace_back(f, at++);
    }
    std::sort(shared.begin(), shared.end());
    for (std::size_t i = 0; i < shared.size();) {
      const tree_node piece = fragments[shared[i].first].node;
      rank_state<T> s = state_at(shared[i].second);
      for (++i; i < shared.size() && fragments[shared[i].first].node == piece; ++i)
        merge_into(s, state_at(shared[i].second));
      tree.put(piece, std::move(s));
    }
    for (const auto& [node, i] : nodes) tree.put(node, state_at(i));
    // Pieces without keys are no node of anybody.
    for (index piece = 0; piece < C; ++piece)
      if (std::none_of(fragments.begin(), fragments.end(),
                       [&](const key_fragment& f) { return f.node.number == piece; }))
        tree.put(piece, std::nullopt);
    write_state(call, tree.take(), m.O, m.log_sum_exp);
  });
}

}  // namespace detail
namespace mpi {

/// \addtogroup mpi
/// \{

/// A step of decoding over a cache whose rows lie on ranks: q, n×d with few rows, is the same on
/// every rank, and so is the result; K and V are this rank's rows. Each rank attends to pieces of
/// its own keys; states travel, which are small, and are merged by every rank in one tree over
/// pieces. For a fixed number of pieces (mpi::options{.pieces}) that P divides, or 2·P for a
/// zigzag, no bit depends on the number of ranks; stripes have bits of their own.
/// Queries are the first n of the problem: masks::causal_bottom_right lets the last of them see all
/// keys. Policies, heads, sinks and stored rows as in attention().
/// \throws  as attention(); argument_error where q differs from rank to rank.
/// Cost: n·m/P·(d + e) work; (P − 1)·n·H·(e + 1) numbers received where pieces of a rank are
/// neighbours, log₂ C times as many at most.
/// \see Dao et al., "Flash-Decoding", 2023; Shyam et al., "Tree Attention", 2024.
template <dense_expression Q, row_expression K, row_expression V, class... Ps>
[[nodiscard]] auto decode_attention(const communicator& comm, const Q& q, const K& k, const V& v,
                                    const partition& keys, const Ps&... policies) {
  return softlook::detail::with_rank_policies<Q, K, V>(
      [&](options how, const auto&... ps) {
        using T = softlook::detail::arithmetic<softlook::detail::scalar_of<Q>>;
        using rows_k = softlook::detail::local_rows<K, T>;
        using rows_v = softlook::detail::local_rows<V, T>;
        using call_type = softlook::detail::rank_call<T, std::remove_cvref_t<decltype(ps)>...>;
        constexpr const char* where = "mpi::decode_attention";
        if (how.pieces == 0) how.pieces = decoding_pieces;
        softlook::detail::rank_run run(comm, where, how);
        std::optional<softlook::detail::queries_as<Q, T>> queries;
        std::optional<rows_k> of_keys;
        std::optional<rows_v> of_values;
        softlook::detail::rank_matrices<T, typename rows_k::stored, typename rows_v::stored> m;
        softlook::detail::row_major<T> O;
        std::vector<softlook::detail::key_fragment> fragments;
        std::vector<softlook::detail::sent_states> sent;
        T* states = nullptr;
        // Every rank has all queries: for the size of the problem they are those of the first.
        std::vector<index> on_first(std::size_t(comm.size()), 0);
        on_first.front() = q.rows();
        const partitions at(partition::of_counts(on_first), keys);
        const softlook::detail::agreed_call<T, std::remove_cvref_t<decltype(ps)>...> call(
            comm, where, q, k, v, at, how, true,
            [&](const call_type& c, softlook::detail::call_facts& f) {
              queries.emplace(q);
              of_keys.emplace(k, c.whole().isa);
              of_values.emplace(v, c.whole().isa);
              O.resize(q.rows(), c.whole().values() * c.query_heads());
              m = {queries->view(),
                   of_keys->view(),
                   of_values->view(),
                   softlook::detail::writable_view(O),
                   {}};
              f.same_hash("Q", softlook::detail::hash_of_matrix(m.Q, 0),
                          "all ranks have the same queries");
              fragments = softlook::detail::fragments_of(keys, how.pieces);
              index count = 0;
              for (int rank = 0; rank < comm.size(); ++rank) {
                sent.push_back(softlook::detail::states_of(rank, fragments, how.pieces));
                count += sent.back().count();
              }
              const softlook::detail::packed_states<T> packed{q.rows(), O.cols(), c.query_heads()};
              states = reinterpret_cast<T*>(
                  run.messages().hold(count * packed.numbers() * index(sizeof(T))));
            },
            ps...);
        softlook::detail::attend_decoding(run, *call, m, fragments, sent, states);
        run.conclude();
        return plain_matrix_like<Q>(O.template cast<softlook::detail::scalar_of<Q>>());
      },
      policies...);
}

/// \}

}  // namespace mpi
SOFTLOOK_NAMESPACE_END
