#pragma once

#include <sched.h>

#include <climits>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <vector>

#include "softlook/engine/run/tasks.hpp"
#include "softlook/mpi/communicator.hpp"

// Rows on their way: messages whose counts are rows, which travel while tasks run.

SOFTLOOK_NAMESPACE_BEGIN
namespace mpi {

/// \addtogroup mpi
/// \{

/// What a rank sent, and how long it waited for what others sent.
struct traffic {
  index messages = 0;
  double bytes = 0;
  index polls = 0;        ///< that found something still on its way
  double waited = 0;      ///< seconds, not counting polls
  double bytes_held = 0;  ///< of buffers, at most at a time
};

/// \}

}  // namespace mpi
namespace detail {

/// Rows in memory, equally far apart.
struct byte_rows {
  std::byte* data = nullptr;
  index count = 0;
  index row_bytes = 0;
  index apart = 1;  // rows from one to the next

  [[nodiscard]] byte_rows from(index first, index rows) const {
    return {data + first * apart * row_bytes, rows, row_bytes, apart};
  }
};

/// A datatype of MPI's.
class datatype {
 public:
  datatype() = default;
  datatype(const datatype&) = delete;
  datatype& operator=(const datatype&) = delete;
  datatype(datatype&& from) noexcept : type_(std::exchange(from.type_, MPI_DATATYPE_NULL)) {}
  datatype& operator=(datatype&& from) noexcept {
    std::swap(type_, from.type_);
    return *this;
  }
  ~datatype() {
    if (type_ != MPI_DATATYPE_NULL) MPI_Type_free(&type_);
  }

  /// One row, so that counts are rows: MPI counts with int, and bytes soon exceed it.
  [[nodiscard]] static datatype row(index bytes, int rank) {
    if (bytes > INT_MAX)
      raise_argument("softlook::mpi", "bytes of a row", double(bytes),
                     "a row has at most 2147483647 bytes: give fewer heads at a time");
    datatype t;
    check_mpi(MPI_Type_contiguous(int(bytes), MPI_BYTE, &t.type_), "MPI_Type_contiguous", rank);
    check_mpi(MPI_Type_commit(&t.type_), "MPI_Type_commit", rank);
    return t;
  }
  /// Rows with others between them.
  [[nodiscard]] datatype rows_apart(index count, index apart, int rank) const {
    datatype t;
    check_mpi(MPI_Type_vector(int(count), 1, int(apart), type_, &t.type_), "MPI_Type_vector", rank);
    check_mpi(MPI_Type_commit(&t.type_), "MPI_Type_commit", rank);
    return t;
  }
  [[nodiscard]] MPI_Datatype get() const { return type_; }

 private:
  MPI_Datatype type_ = MPI_DATATYPE_NULL;
};

/// Messages between ranks that travel at the same time, and the memory that they need. MPI makes
/// progress while poll() or wait() is called, by the calling thread. Between two ranks messages of
/// a tag arrive in the order in which they were posted, so both must post them in one order.
///
/// Memory of open messages must outlive them. Where an error leaves some open, nobody knows when
/// they end: what is held here is then given up, and not freed.
class transfer {
 public:
  /// \param most_rows  of a message: longer ones are cut. A parameter for tests of what would take
  ///                   2³¹ rows.
  explicit transfer(const mpi::communicator& comm, index most_rows = INT_MAX)
      : comm_(&comm),
        most_rows_(most_rows < 1         ? 1
                   : most_rows > INT_MAX ? INT_MAX
                                         : most_rows) {}
  transfer(const transfer&) = delete;
  transfer& operator=(const transfer&) = delete;
  ~transfer() {
    if (open_.empty()) return;
    for (block& kept : held_) static_cast<void>(kept.release());
  }

  /// Memory for messages, as long as this lives; not initialised.
  [[nodiscard]] std::byte* hold(index bytes) {
    held_.push_back(block(static_cast<std::byte*>(
        ::operator new(std::size_t(bytes < 1 ? 1 : bytes), std::align_val_t(64)))));
    traffic_.bytes_held += double(bytes);
    return held_.back().get();
  }

  /// Posts messages of rows; empty ones are none, on either side.
  void send(const byte_rows& rows, int to, int tag) {
    post(rows, [&](const std::byte* data, int count, MPI_Datatype type, MPI_Request* request) {
      check("MPI_Isend", MPI_Isend(data, count, type, to, tag, comm_->handle(), request));
      ++traffic_.messages;
    });
    traffic_.bytes += double(rows.count) * double(rows.row_bytes);
  }
  void receive(const byte_rows& rows, int from, int tag) {
    post(rows, [&](std::byte* data, int count, MPI_Datatype type, MPI_Request* request) {
      check("MPI_Irecv", MPI_Irecv(data, count, type, from, tag, comm_->handle(), request));
    });
  }

  /// Lets MPI make progress. \return whether nothing is on its way.
  bool poll() {
    if (open_.empty()) return true;
    int done = 0;
    finish("MPI_Testall", MPI_Testall(int(open_.size()), open_.data(), &done, statuses_.data()));
    ++traffic_.polls;
    if (done) open_.clear();
    return done != 0;
  }
  /// Until nothing is on its way. The core is offered to others between two looks: some MPI wait in
  /// a loop that leaves ranks which share it without any.
  void wait() {
    if (open_.empty()) return;
    const double begun = MPI_Wtime();
    for (int done = 0; !done;) {
      finish("MPI_Testall", MPI_Testall(int(open_.size()), open_.data(), &done, statuses_.data()));
      if (!done) sched_yield();
    }
    traffic_.waited += MPI_Wtime() - begun;
    open_.clear();
  }

  [[nodiscard]] const mpi::traffic& so_far() const { return traffic_; }
  [[nodiscard]] const mpi::communicator& comm() const { return *comm_; }

 private:
  struct free_block {
    void operator()(std::byte* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  using block = std::unique_ptr<std::byte, free_block>;

  void check(const char* function, int code) const { check_mpi(code, function, comm_->rank()); }

  /// The error of the message that failed, not that there is one.
  void finish(const char* function, int code) const {
    if (code == MPI_ERR_IN_STATUS)
      for (std::size_t i = 0; i < open_.size(); ++i)
        if (const int error = statuses_[i].MPI_ERROR;
            error != MPI_SUCCESS && error != MPI_ERR_PENDING)
          check(function, error);
    check(function, code);
  }

  template <class F>
  void post(const byte_rows& rows, const F& one) {
    if (rows.count < 1 || rows.row_bytes < 1) return;
    const MPI_Datatype row = row_of(rows.row_bytes);
    for (index first = 0; first < rows.count; first += most_rows_) {
      const byte_rows part = rows.from(first, std::min(most_rows_, rows.count - first));
      if (statuses_.size() <= open_.size()) statuses_.emplace_back();
      open_.push_back(MPI_REQUEST_NULL);
      if (rows.apart == 1) {
        one(part.data, int(part.count), row, &open_.back());
      } else {
        // MPI keeps a type for as long as messages of it are open.
        const datatype some = row_.back().type.rows_apart(part.count, part.apart, comm_->rank());
        one(part.data, 1, some.get(), &open_.back());
      }
    }
  }

  struct known_row {
    index bytes;
    datatype type;
  };
  /// The last of row_ is that of these rows afterwards.
  [[nodiscard]] MPI_Datatype row_of(index bytes) {
    for (known_row& known : row_)
      if (known.bytes == bytes) {
        std::swap(known, row_.back());
        return row_.back().type.get();
      }
    row_.push_back({bytes, datatype::row(bytes, comm_->rank())});
    return row_.back().type.get();
  }

  const mpi::communicator* comm_;
  index most_rows_;
  std::vector<block> held_;
  std::vector<known_row> row_;
  std::vector<MPI_Request> open_;
  std::vector<MPI_Status> statuses_;  // at least as many
  mpi::traffic traffic_;
};

/// A caller's executor, with a look at the messages before each task that the calling thread takes:
/// MPI has no thread of its own that would move them. An executor whose calling thread takes no
/// task moves them only where a call waits for them.
class polling_executor {
 public:
  polling_executor(const executor_ref& given, transfer& messages)
      : given_(given), messages_(&messages) {}
  polling_executor(const polling_executor&) = delete;
  polling_executor& operator=(const polling_executor&) = delete;

  /// For a call of the engine.
  [[nodiscard]] executor_ref ref() const {
    return {this, given_.concurrency,
            [](const void* self, index count, const task_ref& f) {
              static_cast<const polling_executor*>(self)->bulk(count, f);
            },
            false};
  }
  /// The error of a message that failed meanwhile: no executor may see an exception.
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void bulk(index count, const task_ref& f) const {
    const void* const caller = this_thread();
    const auto polled = [&](index task, index worker) {
      if (this_thread() == caller) poll();
      f(task, worker);
    };
    given_.bulk(given_.executor, count, ref_to_tasks(polled));
  }
  void poll() const {
    try {
      if (!error_) messages_->poll();
    } catch (...) {
      error_ = std::current_exception();
    }
  }

  executor_ref given_;
  transfer* messages_;
  mutable std::exception_ptr error_;
};

}  // namespace detail
SOFTLOOK_NAMESPACE_END
