#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include "softlook/core/error.hpp"
#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace exec {

/// \addtogroup executors
/// \{

/// A fixed set of threads owned by the caller; `threads` counts the calling thread, so
/// thread_pool(1) starts none. bulk() may be called from several threads at once and from inside a
/// task: the caller always works on its own tasks, so a nested call cannot wait for itself.
class thread_pool {
 public:
  /// \throws argument_error unless threads ≥ 1.
  explicit thread_pool(index threads) {
    if (threads < 1)
      softlook::detail::raise_argument("exec::thread_pool", "threads", double(threads),
                                       "it counts the calling thread, so at least 1");
    helpers_.reserve(static_cast<std::size_t>(threads - 1));
    for (index worker = 1; worker < threads; ++worker)
      helpers_.emplace_back([this, worker] { help(worker); });
  }
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  ~thread_pool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& helper : helpers_) helper.join();
  }

  [[nodiscard]] index concurrency() const { return static_cast<index>(helpers_.size()) + 1; }

  template <class F>
  void bulk(index count, const F& f) const {
    if (count <= 1 || helpers_.empty()) {
      for (index task = 0; task < count; ++task) f(task, index{0});
      return;
    }
    job work{
        &f,
        [](const void* g, index task, index worker) { (*static_cast<const F*>(g))(task, worker); },
        count};
    enlist(work, std::min<index>(count - 1, concurrency() - 1));
    work.run(0);
    std::unique_lock lock(mutex_);
    delist(work);
    idle_.wait(lock, [&] { return work.helping == 0; });
  }

 private:
  struct job {
    const void* function;
    void (*call)(const void*, index, index);
    index count;
    std::atomic<index> next{0};
    index helping = 0;  // guarded by mutex_, like the list it is in
    job* before = nullptr;
    job* after = nullptr;

    void run(index worker) {
      for (index task; (task = next.fetch_add(1, std::memory_order_relaxed)) < count;)
        call(function, task, worker);
    }
    [[nodiscard]] bool has_tasks() const { return next.load(std::memory_order_relaxed) < count; }
  };

  void enlist(job& work, index wanted) const {
    const std::lock_guard lock(mutex_);
    work.before = last_;
    (last_ ? last_->after : first_) = &work;
    last_ = &work;
    if (wanted == 1)
      wake_.notify_one();
    else
      wake_.notify_all();
  }

  void delist(job& work) const {
    (work.before ? work.before->after : first_) = work.after;
    (work.after ? work.after->before : last_) = work.before;
  }

  [[nodiscard]] job* find_job() const {
    job* work = first_;
    while (work && !work->has_tasks()) work = work->after;
    return work;
  }

  void help(index worker) const {
    std::unique_lock lock(mutex_);
    for (;;) {
      job* work = nullptr;
      wake_.wait(lock, [&] { return stopping_ || (work = find_job()) != nullptr; });
      if (stopping_) return;
      ++work->helping;
      lock.unlock();
      work->run(worker);
      lock.lock();
      if (--work->helping == 0) idle_.notify_all();
    }
  }

  mutable std::mutex mutex_;
  mutable std::condition_variable wake_;
  mutable std::condition_variable idle_;
  mutable job* first_ = nullptr;  // calls in progress, linked through themselves: no allocation
  mutable job* last_ = nullptr;
  bool stopping_ = false;
  std::vector<std::thread> helpers_;
};

/// \}

}  // namespace exec
SOFTLOOK_NAMESPACE_END
