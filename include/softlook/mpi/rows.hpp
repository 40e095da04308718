#pragma once

#include "softlook/core/concepts.hpp"
#include "softlook/engine/call/readable.hpp"
#include "softlook/mpi/agreement.hpp"
#include "softlook/mpi/detail/packed_rows.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

template <class X>
void say_rows(call_facts& f, const X& x, const mpi::communicator& comm, const char* where,
              const mpi::partition& at) {
  check_sizes(where, "the ranks of the partition", at.ranks(), "the ranks of the communicator",
              comm.size(), "it says where all rows lie");
  f.same("the columns of X", x.cols(), "ranks hold rows of one matrix");
  f.same("the bytes of a scalar", index(sizeof(scalar_of<X>)), "ranks hold rows of one matrix");
  f.same("the rows of the sequence", at.rows(), "every rank must know where all rows lie");
  f.same("the kind of the partition", index(at.kind()), "every rank must know where all rows lie");
}

}  // namespace detail
namespace mpi {

/// \addtogroup mpi
/// \{

/// All rows of a matrix whose rows lie on ranks, in the order of the sequence, on every rank:
/// n×c, row-major. For results of moderate size, tests and pictures.
/// \throws shape_error  on all ranks, unless each gives its rows and all the same columns.
template <dense_expression X>
[[nodiscard]] auto gather_rows(const communicator& comm, const X& x, const partition& at) {
  using S = softlook::detail::scalar_of<X>;
  constexpr const char* where = "mpi::gather_rows";
  const softlook::detail::readable<X> local(x);
  softlook::detail::row_major<S> all;
  softlook::detail::agree(comm, where, [&](softlook::detail::call_facts& f) {
    softlook::detail::say_rows(f, x, comm, where, at);
    softlook::detail::check_sizes(where, "X.rows()", x.rows(), "the rows that the partition gives",
                                  at.rows(comm.rank()), "each rank gives its own rows");
    all.resize(at.rows(), x.cols());
  });
  softlook::detail::transfer messages(comm);
  const softlook::detail::row_buffer<S> buffer =
      softlook::detail::hold_rows<S>(messages, at.rows(), x.cols());
  softlook::detail::pack_own(local.view(), buffer, at, comm.rank());
  softlook::detail::post_gather(messages, buffer, at, softlook::detail::tag_queries);
  messages.wait();
  softlook::detail::unpack_rows(buffer.all(), softlook::detail::writable_view(all));
  return all;
}

/// The rows of one rank, of a matrix that rank `root` has: n×c there, any matrix of c columns on
/// the others. row-major.
/// \throws shape_error  on all ranks, unless the root has n rows and all the same columns.
template <dense_expression X>
[[nodiscard]] auto scatter_rows(const communicator& comm, const X& x, const partition& at,
                                int root = 0) {
  using S = softlook::detail::scalar_of<X>;
  constexpr const char* where = "mpi::scatter_rows";
  const softlook::detail::readable<X> whole(x);
  softlook::detail::row_major<S> own;
  softlook::detail::agree(comm, where, [&](softlook::detail::call_facts& f) {
    softlook::detail::say_rows(f, x, comm, where, at);
    f.same("root", root, "one rank has the matrix");
    if (root < 0 || root >= comm.size())
      softlook::detail::raise_argument(where, "root", root, "it is a rank of the communicator");
    if (comm.rank() == root)
      softlook::detail::check_sizes(where, "X.rows()", x.rows(), "the rows of the partition",
                                    at.rows(), "the root has all rows");
    own.resize(at.rows(comm.rank()), x.cols());
  });
  softlook::detail::transfer messages(comm);
  const auto mine = softlook::detail::hold_rows<S>(messages, own.rows(), x.cols());
  const auto all =
      softlook::detail::hold_rows<S>(messages, comm.rank() == root ? at.rows() : 0, x.cols());
  if (comm.rank() == root) softlook::detail::pack_rows(whole.view(), all.all());
  const auto rows_of = [&](const row_run& run) { return mine.all().from(run.local, run.count); };
  if (comm.rank() != root)
    for (const row_run& run : at.runs(comm.rank()))
      messages.receive(rows_of(run), root, softlook::detail::tag_queries);
  for (int rank = 0; comm.rank() == root && rank < comm.size(); ++rank)
    for (const row_run& run : at.runs(rank)) {
      if (rank != root) {
        messages.send(all.at(run), rank, softlook::detail::tag_queries);
        continue;
      }
      softlook::detail::copy_byte_rows(all.at(run), rows_of(run));
    }
  messages.wait();
  softlook::detail::unpack_rows(mine.all(), softlook::detail::writable_view(own));
  return own;
}

/// \}

}  // namespace mpi
SOFTLOOK_NAMESPACE_END
