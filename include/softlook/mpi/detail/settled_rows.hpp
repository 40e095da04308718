#pragma once

#include <cstring>
#include <vector>

#include "softlook/mpi/detail/ring.hpp"

// Rows that go to the rank where their piece of the sequence lies, and back.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// The rows of a rank's pieces, at most two runs, one behind the other in its bundle.
[[nodiscard]] inline std::vector<mpi::row_run> runs_of_pieces(const ring_pieces& pieces, int rank) {
  std::vector<mpi::row_run> all;
  pieces.for_each(rank, [&](index, range rows, index first) {
    if (!all.empty() && all.back().global + all.back().count == rows.begin)
      all.back().count += rows.count();
    else
      all.push_back({first, rows.begin, 1, rows.count()});
  });
  return all;
}

inline void copy_byte_rows(const byte_rows& from, const byte_rows& to) {
  if (from.row_bytes < 1) return;
  for (index i = 0; i < from.count; ++i)
    std::memcpy(to.from(i, 1).data, from.from(i, 1).data, std::size_t(from.row_bytes));
}

/// Rows of a partition and the bundles of their pieces.
template <class T>
class settled_rows {
 public:
  settled_rows(const ring_pieces& pieces, const mpi::partition& at) : pieces_(pieces), at_(at) {}

  /// Posts what brings rows of the partition into the bundles where their pieces lie.
  void post_there(transfer& messages, const row_buffer<T>& own, const row_buffer<T>& bundle,
                  int tag) const {
    const mpi::communicator& comm = messages.comm();
    const int rank = comm.rank();
    for (int step = 1; step < comm.size(); ++step) {
      const int from = peers_of(comm, step).from;
      for_each(from, rank, [&](const mpi::row_run&, const mpi::row_run& there) {
        messages.receive(bundle.at(there), from, tag);
      });
    }
    for (int step = 1; step < comm.size(); ++step) {
      const int to = peers_of(comm, step).to;
      for_each(rank, to, [&](const mpi::row_run& here, const mpi::row_run&) {
        messages.send(own.all().from(here.local, here.count), to, tag);
      });
    }
    for_each(rank, rank, [&](const mpi::row_run& here, const mpi::row_run& there) {
      copy_byte_rows(own.all().from(here.local, here.count), bundle.at(there));
    });
  }
  /// And from the bundles to the ranks of the partition.
  void post_back(transfer& messages, const row_buffer<T>& bundle, const row_buffer<T>& own,
                 int tag) const {
    const mpi::communicator& comm = messages.comm();
    const int rank = comm.rank();
    for (int step = 1; step < comm.size(); ++step) {
      const int from = peers_of(comm, step).from;
      for_each(rank, from, [&](const mpi::row_run& here, const mpi::row_run&) {
        messages.receive(own.all().from(here.local, here.count), from, tag);
      });
    }
    for (int step = 1; step < comm.size(); ++step) {
      const int to = peers_of(comm, step).to;
      for_each(to, rank, [&](const mpi::row_run&, const mpi::row_run& there) {
        messages.send(bundle.at(there), to, tag);
      });
    }
    for_each(rank, rank, [&](const mpi::row_run& here, const mpi::row_run& there) {
      copy_byte_rows(bundle.at(there), own.all().from(here.local, here.count));
    });
  }

 private:
  /// f(rows of rank `owner`, the same rows in the bundle of `home`), in one order on both sides.
  template <class F>
  void for_each(int owner, int home, const F& f) const {
    for (const mpi::row_run& piece : runs_of_pieces(pieces_, home))
      for (const mpi::row_run& run : at_.runs(owner))
        if (const mpi::row_run part = part_of_run(run, {piece.global, piece.global + piece.count});
            part.count > 0)
          f(part, mpi::row_run{part.local, piece.local + part.global - piece.global, part.stride,
                               part.count});
  }

  const ring_pieces& pieces_;
  const mpi::partition& at_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
