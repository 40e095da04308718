#pragma once

#include <algorithm>
#include <vector>

#include "softlook/mpi/partition.hpp"

// Pieces of a sequence, the ranks where they lie, and which rows of a partition those are.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Pieces of m rows, and which of them begin on a rank: as in a zigzag, so that in each step every
/// rank has an early and a late one, and a causal mask leaves all of them the same work.
class ring_pieces {
 public:
  ring_pieces(index m, index pieces, int ranks)
      : m_(m), pieces_(pieces), homes_(mpi::partition::zigzag(pieces, ranks)) {}

  [[nodiscard]] index count() const { return pieces_; }
  [[nodiscard]] range rows_of(index piece) const { return cut_evenly(m_, pieces_, piece); }
  /// f(piece, its rows, its first row in the bundle) for the pieces of a rank's bundle.
  template <class F>
  void for_each(int rank, const F& f) const {
    index first = 0;
    for (const mpi::row_run& run : homes_.runs(rank))
      for (index piece = run.global; piece < run.global + run.count; ++piece) {
        const range rows = rows_of(piece);
        f(piece, rows, first);
        first += rows.count();
      }
  }
  [[nodiscard]] index rows_of_bundle(int rank) const {
    index count = 0;
    for_each(rank, [&](index, range rows, index) { count += rows.count(); });
    return count;
  }
  [[nodiscard]] index most_rows() const {
    index most = 0;
    for (int rank = 0; rank < homes_.ranks(); ++rank) most = std::max(most, rows_of_bundle(rank));
    return most;
  }

 private:
  index m_;
  index pieces_;
  mpi::partition homes_;
};

/// The part of a run that lies within some positions.
[[nodiscard]] inline mpi::row_run part_of_run(const mpi::row_run& run, range positions) {
  const auto first_at = [&](index position) {
    const index ahead = position - run.global;
    return std::clamp<index>(ahead > 0 ? (ahead + run.stride - 1) / run.stride : 0, 0, run.count);
  };
  const index from = first_at(positions.begin), to = first_at(positions.end);
  return {run.local + from, run.global + from * run.stride, run.stride, to - from};
}

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

/// f(rows of rank `owner`, the same rows in the bundle of `home`), in one order on both sides.
template <class F>
void for_each_settled(const ring_pieces& pieces, const mpi::partition& at, int owner, int home,
                      const F& f) {
  for (const mpi::row_run& piece : runs_of_pieces(pieces, home))
    for (const mpi::row_run& run : at.runs(owner))
      if (const mpi::row_run part = part_of_run(run, {piece.global, piece.global + piece.count});
          part.count > 0)
        f(part, mpi::row_run{part.local, piece.local + part.global - piece.global, part.stride,
                             part.count});
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
