#pragma once

#include <exception>

#include "softlook/mpi/detail/packed_rows.hpp"
#include "softlook/mpi/detail/rank_call.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Q, K, V of this rank, and where its rows of the output go.
template <class T, class SK, class SV>
struct rank_matrices {
  matrix_view<T> Q;
  matrix_view<SK> K;
  matrix_view<SV> V;
  mutable_matrix_view<T> O;
  mutable_matrix_view<T> log_sum_exp;  // no data: not wanted
};

/// A call on its way: what is thrown in the middle waits until all messages have arrived, because
/// other ranks wait for those of this one.
class rank_run {
 public:
  rank_run(const mpi::communicator& comm, const char* where, const mpi::options& how)
      : comm_(comm), where_(where), how_(how), messages_(comm, how.message_rows) {}

  [[nodiscard]] transfer& messages() { return messages_; }
  [[nodiscard]] const mpi::communicator& comm() const { return comm_; }
  [[nodiscard]] const mpi::options& how() const { return how_; }

  /// f(), which sends nothing, unless something was thrown before.
  template <class F>
  void work(const F& f) {
    if (error_) return;
    try {
      f();
    } catch (const mpi::mpi_error&) {
      throw;  // messages are lost: nothing will arrive any more
    } catch (...) {
      error_ = std::current_exception();
    }
  }
  /// f(call) of the engine, with a look at the messages between its tasks.
  template <class T, class F>
  void polled(const attention_call<T>& c, const F& f) {
    const polling_executor polling(c.exec, messages_);
    attention_call<T> looked_at = c;
    looked_at.exec = polling.ref();
    f(looked_at);
    polling.rethrow();
  }
  template <class T>
  void attend(const attention_call<T>& c) {
    polled(c, [](attention_call<T>& looked_at) { run(looked_at); });
  }
  /// Collective: all ranks have done their part, or all throw what the first one threw.
  void conclude() {
    if (how_.traffic) *how_.traffic = messages_.so_far();
    agree(comm_, where_, [&](call_facts&) {
      if (error_) std::rethrow_exception(error_);
    });
  }

 private:
  const mpi::communicator& comm_;
  const char* where_;
  mpi::options how_;
  transfer messages_;
  std::exception_ptr error_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
