// mpirun -np P ranks_bench [n [d [heads [repetitions]]]]: attention over ranks against one of them
// alone, by every method and partition. A row is the best of some repetitions:
//   whole    of the slowest rank, ms, and how many times as fast as one rank that is
//   work     processor time, ms: busiest rank and mean; x is that of one rank / busiest, which is
//            the speed-up where nobody else wants the cores
//   waited   ms, of the rank that waited longest, not counting polls
//   model    of the model of costs with the rate that one rank reached, ms
#include <softlook/attention.hpp>
#include <softlook/mpi.hpp>

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace {

using softlook::index;
namespace mpi = softlook::mpi;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

double processor_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

double over_ranks(const mpi::communicator& comm, double x, MPI_Op how) {
  double all = x;
  MPI_Allreduce(&x, &all, 1, MPI_DOUBLE, how, comm.handle());
  return all;
}

struct row {
  double whole = 1e30, busiest = 0, mean = 0, waited = 0;
};

struct problem {
  index n, d, heads;
  int repetitions;
};

template <class Mask>
row measured(const mpi::communicator& comm, const problem& p, const mpi::partition& at,
             const Mask& mask, mpi::method method) {
  const index rows = at.rows(comm.rank()), columns = p.d * p.heads;
  std::srand(unsigned(comm.rank()));
  const matrix Q = matrix::Random(rows, columns), K = matrix::Random(rows, columns),
               V = matrix::Random(rows, columns);
  mpi::traffic traffic;
  const mpi::options how{.method = method, .traffic = &traffic};
  row best;
  for (int k = 0; k < p.repetitions; ++k) {
    MPI_Barrier(comm.handle());
    const double begun = MPI_Wtime(), before = processor_seconds();
    const matrix O =
        mpi::attention(comm, Q, K, V, at, mask, softlook::heads{.query = p.heads}, how);
    const double work = processor_seconds() - before;
    const double whole = over_ranks(comm, MPI_Wtime() - begun, MPI_MAX);
    if (whole >= best.whole) continue;
    best = {whole, work, work, traffic.waited};
  }
  best.busiest = over_ranks(comm, best.busiest, MPI_MAX);
  best.mean = over_ranks(comm, best.mean, MPI_SUM) / comm.size();
  best.waited = over_ranks(comm, best.waited, MPI_MAX);
  return best;
}

template <class Mask>
void compare(const mpi::communicator& comm, const problem& p, const char* name, const Mask& mask,
             double live) {
  // Ranks one after the other, so that they do not share what one of them would have.
  row alone;
  {
    const mpi::communicator self(MPI_COMM_SELF);
    if (comm.rank() == 0)
      alone = measured(self, p, mpi::partition::contiguous(p.n, 1), mask, mpi::method::gather);
    alone.whole = over_ranks(comm, comm.rank() == 0 ? alone.whole : 0, MPI_MAX);
    alone.busiest = over_ranks(comm, comm.rank() == 0 ? alone.busiest : 0, MPI_MAX);
  }
  const double n = double(p.n), flops = 4 * n * n * double(p.d * p.heads) * live / alone.busiest;
  if (comm.rank() == 0)
    std::printf("%-7s one rank: whole %.1f ms, work %.1f ms, %.1f GFLOP/s of work\n", name,
                alone.whole * 1e3, alone.busiest * 1e3, flops * 1e-9);
  const mpi::partition zigzag = mpi::partition::zigzag(p.n, comm.size());
  const std::pair<const char*, mpi::partition> partitions[] = {
      {"contiguous", mpi::partition::contiguous(p.n, comm.size())},
      {"zigzag", zigzag},
      {"striped", mpi::partition::striped(p.n, comm.size())}};
  for (const auto method : {mpi::method::gather, mpi::method::ring, mpi::method::heads}) {
    if (method == mpi::method::heads && p.heads % comm.size() != 0) continue;
    for (const auto& [kind, at] : partitions) {
      const row r = measured(comm, p, at, mask, method);
      if (comm.rank() != 0) continue;
      const mpi::attention_plan plan =
          mpi::cost_of(method,
                       {.queries = p.n,
                        .keys = p.n,
                        .features = p.d,
                        .values = p.d,
                        .query_heads = p.heads,
                        .kv_heads = p.heads,
                        .ranks = comm.size(),
                        .live = live,
                        .busiest = live < 1 && kind[0] == 'c' ? 2 - 1.0 / comm.size() : 1.0},
                       {.machine = {.flops = flops, .bytes_per_second = 3e9}});
      std::printf(
          "%-7s %-7s %-10s whole %7.1f ms x %.2f  work %7.1f busiest %7.1f mean x %.2f  waited "
          "%6.2f  "
          "model %7.1f\n",
          name, name_of(method), kind, r.whole * 1e3, alone.whole / r.whole, r.busiest * 1e3,
          r.mean * 1e3, alone.busiest / r.busiest, r.waited * 1e3, plan.seconds * 1e3);
      std::fflush(stdout);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  const auto number = [&](int k, long otherwise) {
    return argc > k ? std::atol(argv[k]) : otherwise;
  };
  {
    const mpi::communicator comm(MPI_COMM_WORLD);
    const problem p{number(1, 16384), number(2, 64), number(3, 1), int(number(4, 3))};
    if (comm.rank() == 0)
      std::printf("n = %td, d = %td, heads = %td, %d ranks\n", p.n, p.d, p.heads, comm.size());
    compare(comm, p, "full", softlook::masks::none{}, 1);
    compare(comm, p, "causal", softlook::masks::causal_top_left{}, 0.5);
  }
  MPI_Finalize();
}
