#pragma once

// Not part of softlook.hpp: needs MPI. Its C functions alone; the C++ bindings of MPI 2, which some
// packages still have, would need a library of their own.
#ifndef OMPI_SKIP_MPICXX
#define OMPI_SKIP_MPICXX 1
#endif
#ifndef MPICH_SKIP_MPICXX
#define MPICH_SKIP_MPICXX 1
#endif
#include <mpi.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "softlook/core/error.hpp"

#if !SOFTLOOK_EXCEPTIONS
#error "softlook: the headers of mpi/ need exceptions, which ranks agree on before they throw them"
#endif

SOFTLOOK_NAMESPACE_BEGIN
namespace mpi {

/// \defgroup mpi Several ranks
/// Attention over sequences whose rows lie on the ranks of an MPI program. Optional: include
/// softlook/mpi.hpp and link softlook::mpi.
/// \cases tests/mpi/attention_test.cpp, tests/mpi/ring_test.cpp, tests/mpi/backward_test.cpp
/// \{

/// What MPI said of a call that failed, and on which rank of the communicator. After it some of the
/// communicator's messages may be lost: end the job.
class mpi_error : public std::runtime_error {
 public:
  mpi_error(const std::string& what, int code, int rank)
      : std::runtime_error(what), code_(code), rank_(rank) {}
  [[nodiscard]] int code() const { return code_; }
  [[nodiscard]] int rank() const { return rank_; }

 private:
  int code_;
  int rank_;
};

/// \}

}  // namespace mpi
namespace detail {

/// "MPI_Irecv on rank 3: MPI_ERR_TRUNCATE: message truncated"
[[noreturn, gnu::cold, gnu::noinline]] inline void raise_mpi(const char* function, int code,
                                                             int rank) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  throw mpi::mpi_error(
      formatted("softlook: %s on rank %d: %.*s", function, rank, length, text).text, code, rank);
}

inline void check_mpi(int code, const char* function, int rank) {
  if (code != MPI_SUCCESS) raise_mpi(function, code, rank);
}

/// MPI must be running, and threads of the caller's be allowed beside the one that calls MPI.
inline void check_mpi_is_ready() {
  int begun = 0, ended = 0, level = MPI_THREAD_SINGLE, is_main = 0;
  MPI_Initialized(&begun);
  if (!begun)
    raise<argument_error>(
        "mpi::communicator: MPI is not initialised (call MPI_Init_thread(&argc, &argv, "
        "MPI_THREAD_FUNNELED, &provided) first)");
  MPI_Finalized(&ended);
  if (ended)
    raise<argument_error>(
        "mpi::communicator: MPI_Finalize has been called (make communicators before)");
  MPI_Query_thread(&level);
  if (level < MPI_THREAD_FUNNELED)
    raise<argument_error>(
        formatted("mpi::communicator: MPI provides thread level %d but %d, MPI_THREAD_FUNNELED, is "
                  "needed (call MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) "
                  "instead of MPI_Init)",
                  level, MPI_THREAD_FUNNELED)
            .text);
  MPI_Is_thread_main(&is_main);
  if (level == MPI_THREAD_FUNNELED && !is_main)
    raise<argument_error>(
        "mpi::communicator: this is not the thread that initialised MPI (MPI_THREAD_FUNNELED lets "
        "that one alone call it; ask for MPI_THREAD_SERIALIZED)");
}

/// Errors of calls on `of` are returned for as long as this lives.
class returned_errors {
 public:
  explicit returned_errors(MPI_Comm of) : of_(of) {
    if (MPI_Comm_get_errhandler(of_, &before_) != MPI_SUCCESS) before_ = MPI_ERRHANDLER_NULL;
    MPI_Comm_set_errhandler(of_, MPI_ERRORS_RETURN);
  }
  returned_errors(const returned_errors&) = delete;
  returned_errors& operator=(const returned_errors&) = delete;
  ~returned_errors() {
    if (before_ == MPI_ERRHANDLER_NULL) return;
    MPI_Comm_set_errhandler(of_, before_);
    MPI_Errhandler_free(&before_);
  }

 private:
  MPI_Comm of_;
  MPI_Errhandler before_ = MPI_ERRHANDLER_NULL;
};

}  // namespace detail
namespace mpi {

/// \addtogroup mpi
/// \{

/// A communicator of softlook's own: messages of its calls never meet those of the program. Made
/// once and kept, because duplicating takes microseconds and an MPI has room for some thousands of
/// them; move-only. The library initialises MPI never, and calls it from the calling thread only.
///
///     int provided = 0;
///     MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
///     {
///       const mpi::communicator comm(MPI_COMM_WORLD);
///       const auto rows = mpi::partition::zigzag(n, comm.size());
///       …  mpi::attention(comm, Q, K, V, rows, masks::causal_top_left{})
///     }
///     MPI_Finalize();
///
/// Ranks are those of this communicator. Destroying one is collective, as MPI_Comm_free is, and
/// does nothing after MPI_Finalize.
class communicator {
 public:
  /// Collective. Errors of the copy are returned, and become mpi_error.
  /// \throws argument_error  where MPI is not initialised, was finalised, or provides less than
  ///         MPI_THREAD_FUNNELED; mpi_error where it cannot be duplicated.
  explicit communicator(MPI_Comm of) {
    softlook::detail::check_mpi_is_ready();
    if (of == MPI_COMM_NULL)
      softlook::detail::raise<argument_error>(
          "mpi::communicator: MPI_COMM_NULL is given (ranks outside a group take no part)");
    const softlook::detail::returned_errors returned(of);
    softlook::detail::check_mpi(MPI_Comm_rank(of, &rank_), "MPI_Comm_rank", -1);
    softlook::detail::check_mpi(MPI_Comm_size(of, &size_), "MPI_Comm_size", rank_);
    softlook::detail::check_mpi(MPI_Comm_dup(of, &handle_), "MPI_Comm_dup", rank_);
    MPI_Comm_set_errhandler(handle_, MPI_ERRORS_RETURN);
  }
  communicator(const communicator&) = delete;
  communicator& operator=(const communicator&) = delete;
  communicator(communicator&& from) noexcept
      : handle_(std::exchange(from.handle_, MPI_COMM_NULL)), rank_(from.rank_), size_(from.size_) {}
  communicator& operator=(communicator&& from) noexcept {
    std::swap(handle_, from.handle_);
    std::swap(rank_, from.rank_);
    std::swap(size_, from.size_);
    return *this;
  }
  ~communicator() {
    int ended = 0;
    if (handle_ == MPI_COMM_NULL || MPI_Finalized(&ended) != MPI_SUCCESS || ended) return;
    MPI_Comm_free(&handle_);
  }

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }
  /// For the program's own calls, whose tags must stay below 0x4000.
  [[nodiscard]] MPI_Comm handle() const { return handle_; }

 private:
  MPI_Comm handle_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
};

/// \}

}  // namespace mpi
SOFTLOOK_NAMESPACE_END
