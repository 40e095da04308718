#pragma once

#include <cstring>

#include "softlook/mpi/partition.hpp"
#include "softlook/mpi/transfer.hpp"

// Rows of matrices as rows of bytes: packed once, because a datatype of MPI's for the rows of a
// column-major matrix takes twenty times as long.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Rows of X into rows of bytes.
template <class S>
void pack_rows(const matrix_view<S>& X, const byte_rows& to) {
  const std::size_t row = std::size_t(X.cols) * sizeof(S);
  if (row == 0) return;
  if (X.col_stride == 1) {
    for (index i = 0; i < X.rows; ++i)
      std::memcpy(to.from(i, 1).data, X.data + i * X.row_stride, row);
    return;
  }
  constexpr index block = 32;  // rows, whose lines of a column-major matrix stay in the cache
  for (index first = 0; first < X.rows; first += block)
    for (index j = 0; j < X.cols; ++j)
      for (index i = first; i < std::min(first + block, X.rows); ++i)
        std::memcpy(to.from(i, 1).data + j * index(sizeof(S)), &X(i, j), sizeof(S));
}

/// And back.
template <class S>
void unpack_rows(const byte_rows& from, const mutable_matrix_view<S>& X) {
  const std::size_t row = std::size_t(X.cols) * sizeof(S);
  if (row == 0) return;
  for (index i = 0; i < X.rows; ++i) {
    const std::byte* const at = from.from(i, 1).data;
    if (X.col_stride == 1)
      std::memcpy(X.data + i * X.row_stride, at, row);
    else
      for (index j = 0; j < X.cols; ++j)
        std::memcpy(&X(i, j), at + j * index(sizeof(S)), sizeof(S));
  }
}

/// Rows of bytes to others that are as long.
inline void copy_byte_rows(const byte_rows& from, const byte_rows& to) {
  if (from.row_bytes < 1) return;
  for (index i = 0; i < from.count; ++i)
    std::memcpy(to.from(i, 1).data, from.from(i, 1).data, std::size_t(from.row_bytes));
}

/// A matrix of S whose rows lie one behind the other in memory.
template <class S>
struct row_buffer {
  std::byte* data = nullptr;
  index rows = 0;
  index cols = 0;

  [[nodiscard]] static index bytes(index rows, index cols) {
    return rows * cols * index(sizeof(S));
  }
  [[nodiscard]] index row_bytes() const { return cols * index(sizeof(S)); }
  [[nodiscard]] byte_rows all() const { return {data, rows, row_bytes(), 1}; }
  /// Where rows of a rank lie in the sequence.
  [[nodiscard]] byte_rows at(const mpi::row_run& run) const {
    return {data + run.global * row_bytes(), run.count, row_bytes(), run.stride};
  }
  [[nodiscard]] matrix_view<S> view() const {
    return {reinterpret_cast<const S*>(data), rows, cols, cols, 1};
  }
  [[nodiscard]] mutable_matrix_view<S> writable() const {
    return {reinterpret_cast<S*>(data), rows, cols, cols, 1};
  }
};

template <class S>
[[nodiscard]] row_buffer<S> hold_rows(transfer& messages, index rows, index cols) {
  return {messages.hold(row_buffer<S>::bytes(rows, cols)), rows, cols};
}

/// receive(rank) of all other ranks, then send(rank): each step is a permutation, so that no rank
/// is sent to by all at once.
template <class Receive, class Send>
void for_each_peer(const mpi::communicator& comm, const Receive& receive, const Send& send) {
  const int rank = comm.rank(), ranks = comm.size();
  for (int step = 1; step < ranks; ++step) receive((rank + ranks - step) % ranks);
  for (int step = 1; step < ranks; ++step) send((rank + step) % ranks);
}

/// Posts the messages that bring the rows of all ranks to each of them. Those of this rank lie in
/// the buffer already.
template <class S>
void post_gather(transfer& messages, const row_buffer<S>& all, const mpi::partition& at, int tag) {
  const mpi::communicator& comm = messages.comm();
  for_each_peer(
      comm,
      [&](int from) {
        for (const mpi::row_run& run : at.runs(from)) messages.receive(all.at(run), from, tag);
      },
      [&](int to) {
        for (const mpi::row_run& run : at.runs(comm.rank())) messages.send(all.at(run), to, tag);
      });
}

/// This rank's rows into their places among all.
template <class S>
void pack_own(const matrix_view<S>& X, const row_buffer<S>& all, const mpi::partition& at,
              int rank) {
  for (const mpi::row_run& run : at.runs(rank))
    pack_rows(X.rows_from(run.local, run.count), all.at(run));
}

/// Tags of messages; program's own on communicator::handle() stay below.
enum message_tag : int { tag_queries = 0x4000, tag_keys, tag_values, tag_output, tag_ring };

}  // namespace detail
SOFTLOOK_NAMESPACE_END
