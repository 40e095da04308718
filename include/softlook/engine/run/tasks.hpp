#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cfenv>
#include <cstddef>
#include <exception>
#include <limits>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// A function of (task, worker) by reference.
struct task_ref {
  const void* function;
  void (*call)(const void*, index, index);
  void operator()(index task, index worker) const { call(function, task, worker); }
};

template <class F>
[[nodiscard]] task_ref ref_to_tasks(const F& f) {
  return {&f, [](const void* g, index task, index worker) {
            (*static_cast<const F*>(g))(task, worker);
          }};
}

/// An executor of any type by reference, so that what uses it is compiled once.
struct executor_ref {
  const void* executor;
  index concurrency;
  void (*bulk)(const void*, index count, const task_ref&);
  bool on_caller;  // tasks run on the calling thread, one after the other
};

template <class E>
[[nodiscard]] executor_ref ref_to(const E& e) {
  constexpr bool on_caller = requires { requires E::on_caller; };
  const index workers = e.concurrency();
  return {&e, workers < 1 ? 1 : workers,
          [](const void* self, index count, const task_ref& f) {
            static_cast<const E*>(self)->bulk(count, f);
          },
          on_caller};
}

/// An address that is another one on every thread. <thread> takes a tenth of the time that Eigen
/// takes to compile.
[[nodiscard]] inline const void* this_thread() {
  static thread_local char here = 0;
  return &here;
}

/// The caller's floating-point control word, on whatever thread a task runs.
class inherited_environment {
 public:
  inherited_environment() { std::fegetenv(&caller_); }

  class scope {
   public:
    explicit scope(const inherited_environment& from) : foreign_(this_thread() != from.thread_) {
      if (!foreign_) return;
      std::fegetenv(&own_);
      std::fesetenv(&from.caller_);
    }
    ~scope() {
      if (foreign_) std::fesetenv(&own_);
    }
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;

   private:
    bool foreign_;
    std::fenv_t own_{};
  };

 private:
  const void* thread_ = this_thread();
  std::fenv_t caller_{};
};

/// The exception of the lowest task that threw one.
class first_error {
 public:
  void guard(index task, index worker, const task_ref& f) {
#if SOFTLOOK_EXCEPTIONS
    try {
      f(task, worker);
    } catch (...) {
      keep(task);
    }
#else
    f(task, worker);
#endif
  }
  void rethrow() const {
#if SOFTLOOK_EXCEPTIONS
    if (error_) std::rethrow_exception(error_);
#endif
  }

 private:
#if SOFTLOOK_EXCEPTIONS
  SOFTLOOK_SMALL void keep(index task) {
    while (busy_.test_and_set(std::memory_order_acquire)) {
    }
    if (task < lowest_) {
      lowest_ = task;
      error_ = std::current_exception();
    }
    busy_.clear(std::memory_order_release);
  }
#endif

  std::atomic_flag busy_;
  index lowest_ = std::numeric_limits<index>::max();
  std::exception_ptr error_;
};

/// Numbers the workers that take part in a call from 0, so that scratch for min(concurrency, tasks)
/// of them is enough: an executor may hand any of its workers to any task.
class worker_numbers {
 public:
  worker_numbers(index concurrency, index tasks)
      : concurrency_(concurrency), as_given_(tasks >= concurrency) {
    if (!as_given_ && std::size_t(concurrency) > few_.size()) {
      many_ = new index[std::size_t(concurrency)];
      std::fill_n(many_, concurrency, index{-1});
    }
    few_.fill(-1);
  }

  worker_numbers(const worker_numbers&) = delete;
  worker_numbers& operator=(const worker_numbers&) = delete;
  ~worker_numbers() { delete[] many_; }

  [[nodiscard]] index of(index worker) {
    if (worker < 0 || worker >= concurrency_)
      raise_argument("executor", "worker", double(worker),
                     "bulk() must number workers below concurrency()");
    if (as_given_) return worker;
    // One task of a worker runs at a time, so its number needs no lock.
    index& number = (many_ ? many_ : few_.data())[std::size_t(worker)];
    if (number < 0) number = next_.fetch_add(1, std::memory_order_relaxed);
    return number;
  }

 private:
  std::array<index, 64> few_;  // so that a call on a usual machine allocates nothing
  index* many_ = nullptr;
  index concurrency_;
  bool as_given_;
  std::atomic<index> next_{0};
};

/// Runs f(task, worker) for every task, worker < min(concurrency, count). Executors never see an
/// exception; the lowest task's is thrown when all are done.
inline void run_task_refs(const executor_ref& exec, index count, const task_ref& f) {
  if (count <= 0) return;
  struct shared {
    const task_ref& f;
    worker_numbers workers;
    first_error error{};
    inherited_environment environment{};
  };
  if (exec.on_caller) {  // no environment to inherit, no workers to number: 0.1 µs saved
    first_error error;
    for (index task = 0; task < count; ++task) error.guard(task, 0, f);
    return error.rethrow();
  }
  shared of_tasks{f, {exec.concurrency, count}};
  const auto guarded = [&of_tasks](index task, index worker) {
    const inherited_environment::scope as_caller(of_tasks.environment);
    const auto numbered = [&of_tasks](index t, index w) { of_tasks.f(t, of_tasks.workers.of(w)); };
    of_tasks.error.guard(task, worker, ref_to_tasks(numbered));
  };
  exec.bulk(exec.executor, count, ref_to_tasks(guarded));
  of_tasks.error.rethrow();
}
template <class F>
void run_tasks(const executor_ref& exec, index count, const F& f) {
  run_task_refs(exec, count, ref_to_tasks(f));
}

/// The calling thread, which runs the tasks of a call without an executor.
inline constexpr executor_ref calling_thread{nullptr, 1,
                                             [](const void*, index count, const task_ref& f) {
                                               for (index task = 0; task < count; ++task)
                                                 f(task, 0);
                                             },
                                             true};

/// The executor among the policies of a call, or the calling thread.
[[nodiscard]] constexpr executor_ref exec_of() { return calling_thread; }
template <class P, class... Ps>
[[nodiscard]] executor_ref exec_of(const P& p, const Ps&... ps) {
  if constexpr (executor<P>)
    return ref_to(p);
  else
    return exec_of(ps...);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
