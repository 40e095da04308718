// Programs that fail: `single` initialises MPI without threads, `abort` loses a rank in the middle
// of a call.
#include <softlook/attention.hpp>
#include <softlook/mpi.hpp>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// 0 if the communicator is refused with a message, or MPI has more to give than was asked for.
int without_threads(int& argc, char**& argv) {
  MPI_Init(&argc, &argv);
  int status = 1, level = 0;
  MPI_Query_thread(&level);
  try {
    const softlook::mpi::communicator comm(MPI_COMM_WORLD);
    status = level >= MPI_THREAD_FUNNELED ? 0 : 1;
  } catch (const softlook::argument_error& error) {
    std::puts(error.what());
    const bool says_what_to_write =
        std::string_view(error.what()).find("MPI_Init_thread") != std::string_view::npos;
    status = level < MPI_THREAD_FUNNELED && says_what_to_write ? 0 : 1;
  }
  MPI_Finalize();
  return status;
}

int lose_a_rank(int& argc, char**& argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  {
    const softlook::mpi::communicator comm(MPI_COMM_WORLD);
    const auto rows = softlook::mpi::partition::contiguous(400, comm.size());
    const matrix X = matrix::Ones(rows.rows(comm.rank()), 8);
    const int rank = comm.rank();
    const auto mask = softlook::masks::where([rank](int i, int j) {
      if (rank == 1 && i % 7 == 1 && j == 11) std::abort();
      return true;
    });
    const matrix O = softlook::mpi::ring_attention(comm, X, X, X, rows, mask);
    std::printf("rank %d has %td rows\n", rank, O.rows());
  }
  MPI_Finalize();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view which = argc > 1 ? argv[1] : "";
  if (which == "single") return without_threads(argc, argv);
  if (which == "abort") return lose_a_rank(argc, argv);
  std::puts("mpi_failures single | abort");
  return 2;
}
