// Problems that every rank knows as a whole, and the rows of it that a rank has.
#pragma once

#include "tests/support/kernels.hpp"
//
#include <gtest/gtest.h>
#include <mpi.h>

#include <algorithm>
#include <vector>

#include "softlook/mpi.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/random.hpp"

namespace softlook_test {

using softlook::index;
namespace mpi = softlook::mpi;

inline const mpi::communicator& world() {
  static auto* const comm = new mpi::communicator(MPI_COMM_WORLD);  // lives until MPI_Finalize
  return *comm;
}
/// This rank by itself: what one process computes.
inline const mpi::communicator& alone() {
  static auto* const comm = new mpi::communicator(MPI_COMM_SELF);
  return *comm;
}
inline int ranks() { return world().size(); }
inline int rank() { return world().rank(); }

/// Of cases that are alike, all on up to three ranks, and every third where many share a core.
inline bool taken(std::size_t k) { return ranks() <= 3 || k % 3 == std::size_t(ranks()) % 3; }

/// Every kind of partition of n rows.
inline std::vector<mpi::partition> every_partition(index n, int P = ranks()) {
  std::vector<index> counts(std::size_t(P), 0);
  for (index row = 0; row < n; ++row) ++counts[std::size_t(row * row * 7 % P)];
  return {mpi::partition::contiguous(n, P), mpi::partition::zigzag(n, P),
          mpi::partition::striped(n, P), mpi::partition::of_counts(counts)};
}

/// The rows of a rank, of a matrix that is known as a whole.
template <class Matrix>
Matrix rows_of(const Matrix& X, const mpi::partition& at, int of = rank()) {
  Matrix rows(at.rows(of), X.cols());
  for (index i = 0; i < rows.rows(); ++i) rows.row(i) = X.row(at.global(of, i));
  return rows;
}

/// What is computed on ranks of a communicator of the first P of the world; others do nothing.
template <class F>
void on_first(int P, const F& f) {
  MPI_Comm some = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank() < P ? 0 : MPI_UNDEFINED, rank(), &some);
  if (some == MPI_COMM_NULL) return;
  {
    const mpi::communicator comm(some);
    f(comm);
  }
  MPI_Comm_free(&some);
}

/// What a call throws, on this rank.
template <class Error, class F>
std::string thrown_by(const F& f) {
  try {
    f();
  } catch (const std::exception& error) {
    const bool expected = dynamic_cast<const Error*>(&error) != nullptr;
    return (expected ? std::string() : std::string("another exception: ")) + error.what();
  }
  return "nothing";
}
/// All ranks must have the same text.
inline void expect_same_on_all(const std::string& text) {
  char mine[1024] = "", first[1024] = "";
  std::snprintf(mine, sizeof mine, "%s", text.c_str());
  std::copy(mine, mine + sizeof mine, first);
  MPI_Bcast(first, sizeof first, MPI_CHAR, 0, MPI_COMM_WORLD);
  EXPECT_STREQ(mine, first);
}

}  // namespace softlook_test
