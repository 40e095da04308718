// expect: rows on several ranks have the positions that their partition gives them
#include <softlook/attention.hpp>
#include <softlook/mpi.hpp>

void must_fail(const softlook::mpi::communicator& comm, const Eigen::MatrixXf& X) {
  const auto rows = softlook::mpi::partition::contiguous(8, comm.size());
#ifdef MUST_FAIL
  (void)softlook::mpi::attention(comm, X, X, X, rows, softlook::frame{.first_query = 1});
#else
  (void)softlook::mpi::attention(comm, X, X, X, rows);
#endif
}
