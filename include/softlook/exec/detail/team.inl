#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

SOFTLOOK_NAMESPACE_BEGIN
namespace exec::detail {

/// The threads of a pool but the calling one, and the calls in progress, linked through themselves:
/// no allocation.
class team {
 public:
  explicit team(index helpers) {
    threads_.reserve(static_cast<std::size_t>(helpers));
    for (index worker = 1; worker <= helpers; ++worker)
      threads_.emplace_back([this, worker] { help(worker); });
  }
  team(const team&) = delete;
  team& operator=(const team&) = delete;
  ~team() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void work(pool_job& job, index wanted) {
    enlist(job, wanted);
    job.run(0);
    std::unique_lock lock(mutex_);
    delist(job);
    idle_.wait(lock, [&] { return job.helping == 0; });
  }

 private:
  void enlist(pool_job& job, index wanted) {
    const std::lock_guard lock(mutex_);
    job.before = last_;
    (last_ ? last_->after : first_) = &job;
    last_ = &job;
    if (wanted == 1)
      wake_.notify_one();
    else
      wake_.notify_all();
  }

  void delist(pool_job& job) {
    (job.before ? job.before->after : first_) = job.after;
    (job.after ? job.after->before : last_) = job.before;
  }

  [[nodiscard]] pool_job* find_job() const {
    pool_job* job = first_;
    while (job && !job->has_tasks()) job = job->after;
    return job;
  }

  void help(index worker) {
    std::unique_lock lock(mutex_);
    for (;;) {
      pool_job* job = nullptr;
      wake_.wait(lock, [&] { return stopping_ || (job = find_job()) != nullptr; });
      if (stopping_) return;
      ++job->helping;
      lock.unlock();
      job->run(worker);
      lock.lock();
      if (--job->helping == 0) idle_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  pool_job* first_ = nullptr;
  pool_job* last_ = nullptr;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

template <class Team>
Team* hired(index helpers) {
  return new Team(helpers);
}
template <class Team>
void dismiss(Team* helpers) {
  delete helpers;
}
template <class Team>
void work_with(Team& helpers, pool_job& work, index wanted) {
  helpers.work(work, wanted);
}

}  // namespace exec::detail
SOFTLOOK_NAMESPACE_END
