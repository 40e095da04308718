#pragma once

#include <atomic>

#include "softlook/core/error.hpp"
#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace exec {

namespace detail {

/// A call in progress.
struct pool_job {
  const void* function;
  void (*call)(const void*, index, index);
  index count;
  std::atomic<index> next{0};
  index helping = 0;  // guarded by the team's mutex, like the list it is in
  pool_job* before = nullptr;
  pool_job* after = nullptr;

  void run(index worker) {
    for (index task; (task = next.fetch_add(1, std::memory_order_relaxed)) < count;)
      call(function, task, worker);
  }
  [[nodiscard]] bool has_tasks() const { return next.load(std::memory_order_relaxed) < count; }
};

/// The threads that help. Standard headers of threads take a twentieth of the time of a file with
/// one Eigen product: units that use softlook::compiled do not read them.
class team;

template <class Team>
[[nodiscard]] Team* hired(index helpers);
template <class Team>
void dismiss(Team* helpers);
template <class Team>
void work_with(Team& helpers, pool_job& work, index wanted);

}  // namespace detail

/// \addtogroup executors
/// \{

/// A fixed set of threads owned by the caller; `threads` counts the calling thread, so
/// thread_pool(1) starts none. bulk() may be called from several threads at once and from inside a
/// task: the caller always works on its own tasks, so a nested call cannot wait for itself.
class thread_pool {
 public:
  /// \throws argument_error unless threads ≥ 1.
  explicit thread_pool(index threads) : threads_(threads) {
    if (threads < 1)
      softlook::detail::raise_argument("exec::thread_pool", "threads", double(threads),
                                       "it counts the calling thread, so at least 1");
    if (threads > 1) helpers_ = detail::hired<detail::team>(threads - 1);
  }
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  ~thread_pool() {
    if (helpers_) detail::dismiss(helpers_);
  }

  [[nodiscard]] index concurrency() const { return threads_; }

  template <class F>
  void bulk(index count, const F& f) const {
    if (count <= 1 || !helpers_) {
      for (index task = 0; task < count; ++task) f(task, index{0});
      return;
    }
    detail::pool_job work{
        &f,
        [](const void* g, index task, index worker) { (*static_cast<const F*>(g))(task, worker); },
        count};
    detail::work_with(*helpers_, work, count < threads_ ? count - 1 : threads_ - 1);
  }

 private:
  index threads_;
  detail::team* helpers_ = nullptr;
};

/// \}

}  // namespace exec
SOFTLOOK_NAMESPACE_END

#if !SOFTLOOK_USES_COMPILED
#include "softlook/exec/detail/team.inl"
#endif
