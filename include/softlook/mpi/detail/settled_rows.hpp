#pragma once

#include "softlook/mpi/detail/packed_rows.hpp"
#include "softlook/mpi/detail/ring_pieces.hpp"

// Rows that go to the rank where their piece of the sequence lies, and back.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Rows of a partition and the bundles of their pieces.
template <class T>
class settled_rows {
 public:
  settled_rows(const ring_pieces& pieces, const mpi::partition& at) : pieces_(pieces), at_(at) {}

  /// Posts what brings rows of the partition into the bundles where their pieces lie.
  void post_there(transfer& messages, const row_buffer<T>& own, const row_buffer<T>& bundle,
                  int tag) const {
    const int rank = messages.comm().rank();
    for_each_peer(
        messages.comm(),
        [&](int from) {
          for_each_settled(pieces_, at_, from, rank,
                           [&](const mpi::row_run&, const mpi::row_run& there) {
                             messages.receive(bundle.at(there), from, tag);
                           });
        },
        [&](int to) {
          for_each_settled(pieces_, at_, rank, to,
                           [&](const mpi::row_run& here, const mpi::row_run&) {
                             messages.send(own.all().from(here.local, here.count), to, tag);
                           });
        });
    for_each_settled(pieces_, at_, rank, rank,
                     [&](const mpi::row_run& here, const mpi::row_run& there) {
                       copy_byte_rows(own.all().from(here.local, here.count), bundle.at(there));
                     });
  }
  /// And from the bundles to the ranks of the partition.
  void post_back(transfer& messages, const row_buffer<T>& bundle, const row_buffer<T>& own,
                 int tag) const {
    const int rank = messages.comm().rank();
    for_each_peer(
        messages.comm(),
        [&](int from) {
          for_each_settled(pieces_, at_, rank, from,
                           [&](const mpi::row_run& here, const mpi::row_run&) {
                             messages.receive(own.all().from(here.local, here.count), from, tag);
                           });
        },
        [&](int to) {
          for_each_settled(pieces_, at_, to, rank,
                           [&](const mpi::row_run&, const mpi::row_run& there) {
                             messages.send(bundle.at(there), to, tag);
                           });
        });
    for_each_settled(pieces_, at_, rank, rank,
                     [&](const mpi::row_run& here, const mpi::row_run& there) {
                       copy_byte_rows(bundle.at(there), own.all().from(here.local, here.count));
                     });
  }

 private:
  const ring_pieces& pieces_;
  const mpi::partition& at_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
