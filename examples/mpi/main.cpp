// Causal attention of a million tokens over the ranks of an MPI program, one head: no rank has more
// of the sequence than its rows and the keys that pass by, and some rows are computed again,
// exactly.
//
// Dubey et al., "The Llama 3 Herd of Models", 2024, section 3.3.2 (keys come to every rank); Liu et
// al., "Ring Attention", 2023 (they pass by).
//
// Run: mpirun -np 2 million_tokens [TOKENS [gather | ring]]   100,000 tokens take some seconds,
//      1,000,000 five minutes with AVX-512
//
// expect: rank 1 of 2: .* MiB
// expect: rows computed again differ by at most [0-9.]+e-0[6-9]

#include <sys/resource.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <softlook/attention.hpp>
#include <softlook/mpi.hpp>
#include <vector>

using Eigen::Index;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
namespace mpi = softlook::mpi;

constexpr Index d = 32;

/// A number of a matrix, the same on every rank: nobody needs to have all of it.
float number(Index row, Index column, int of) {
  std::uint64_t x = std::uint64_t(row) * 0x9E3779B97F4A7C15u +
                    std::uint64_t(column * 3 + of) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 30)) * 0x94D049BB133111EBu;
  x = (x ^ (x >> 27)) * 0xBF58476D1CE4E5B9u;
  return float(double(x >> 40) * 0x1p-23 - 1) * 2;
}
matrix rows_of_rank(const mpi::partition& rows, int rank, int of) {
  return matrix::NullaryExpr(rows.rows(rank), d, [&, first = rows.runs(rank)](Index i, Index c) {
    std::size_t run = first.size() - 1;
    while (run > 0 && i < first[run].local) --run;
    return number(first[run].global + (i - first[run].local) * first[run].stride, c, of);
  });
}

void draw(double share) {
  static const char* const full = "########################################";
  std::printf("\r[%-40.*s] %3.0f %%", int(40 * share), full, 100 * share);
  std::fflush(stdout);
}

/// Tasks on the calling thread, counted: how far this rank is, of so many calls of bulk().
struct progress {
  bool shown;
  double calls;
  mutable double done = 0;
  [[nodiscard]] Index concurrency() const { return 1; }
  template <class F>
  void bulk(Index count, const F& f) const {
    for (Index task = 0; task < count; ++task) {
      f(task, Index{0});
      if (shown) draw(std::min(0.99, (done + double(task + 1) / double(count)) / calls));
    }
    ++done;
  }
};

/// Row i of the whole, in double, from numbers that are made again.
double error_of(const matrix& O, Index local, Index i) {
  std::vector<double> sum(d, 0.0);
  double weights = 0, top = -1e300;
  for (Index j = 0; j <= i; ++j) {
    double s = 0;
    for (Index c = 0; c < d; ++c) s += double(number(i, c, 0)) * double(number(j, c, 1));
    s /= std::sqrt(double(d));
    const double before = s > top ? std::exp(top - s) : 1, w = s > top ? 1 : std::exp(s - top);
    top = std::max(top, s);
    weights = weights * before + w;
    for (Index c = 0; c < d; ++c)
      sum[std::size_t(c)] = sum[std::size_t(c)] * before + w * double(number(j, c, 2));
  }
  double worst = 0;
  for (Index c = 0; c < d; ++c)
    worst = std::max(worst, std::fabs(sum[std::size_t(c)] / weights - double(O(local, c))));
  return worst;
}

void attend(Index n, mpi::method method) {
  const mpi::communicator comm(MPI_COMM_WORLD);
  const mpi::partition rows = mpi::partition::zigzag(n, comm.size());
  const matrix Q = rows_of_rank(rows, comm.rank(), 0), K = rows_of_rank(rows, comm.rank(), 1),
               V = rows_of_rank(rows, comm.rank(), 2);
  const softlook::masks::causal_top_left causal;
  mpi::traffic traffic;
  const mpi::options how{.method = method, .traffic = &traffic};
  const mpi::attention_plan plan = mpi::plan_attention(Q, K, V, rows, causal, how);
  const double steps = double(rows.runs(comm.rank()).size()) *
                       (plan.method == mpi::method::ring ? 0.75 * mpi::ring_pieces : 1.0);
  if (comm.rank() == 0)
    std::printf("%td tokens on %d ranks, %s: %s\n", n, comm.size(), name_of(plan.method),
                plan.reason.c_str());

  const double begun = MPI_Wtime();
  const matrix O =
      mpi::attention(comm, Q, K, V, rows, causal, how, progress{comm.rank() == 0, steps});
  const double seconds = MPI_Wtime() - begun;
  if (comm.rank() == 0) draw(1);

  double worst = 0, of_all = 0;
  for (const Index i : {Index{0}, O.rows() / 2, O.rows() - 1})
    if (O.rows() > 0) worst = std::max(worst, error_of(O, i, rows.global(comm.rank(), i)));
  MPI_Allreduce(&worst, &of_all, 1, MPI_DOUBLE, MPI_MAX, comm.handle());
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const double mine[4] = {traffic.bytes_held / 1048576, double(used.ru_maxrss) / 1024,
                          traffic.bytes / 1048576, traffic.waited};
  std::vector<double> all(std::size_t(4 * comm.size()));
  MPI_Gather(mine, 4, MPI_DOUBLE, all.data(), 4, MPI_DOUBLE, 0, comm.handle());
  if (comm.rank() != 0) return;
  std::printf("\n%.2f s, %.1f GFLOP/s\n", seconds, 2 * double(n) * double(n) * d / seconds * 1e-9);
  for (int rank = 0; rank < comm.size(); ++rank) {
    const double* const is = all.data() + 4 * rank;
    std::printf(
        "rank %d of %d: %.1f MiB for rows of others, %.1f MiB in all; sent %.1f MiB, waited %.3f "
        "s\n",
        rank, comm.size(), is[0], is[1], is[2], is[3]);
  }
  std::printf("rows computed again differ by at most %.1e\n", of_all);
}

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  const Index n = argc > 1 ? std::atol(argv[1]) : 100000;
  const char* const method = argc > 2 ? argv[2] : "";
  attend(n, std::strcmp(method, "ring") == 0     ? mpi::method::ring
            : std::strcmp(method, "gather") == 0 ? mpi::method::gather
                                                 : mpi::method::automatic);
  MPI_Finalize();
}
