#pragma once

// Not part of softlook.hpp: needs -fopenmp.
#if !defined(_OPENMP)
#error "softlook: exec/openmp.hpp needs OpenMP; compile with -fopenmp, or use exec::thread_pool"
#endif

#include <omp.h>

#include "softlook/core/error.hpp"
#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace exec {

/// \addtogroup executors
/// \{

/// Runs tasks on OpenMP's threads, for programs that have them anyway. Inside a parallel region of
/// the caller it runs on the calling thread alone, unless nested parallelism is on. The number of
/// threads is the caller's choice: nothing is read from the environment.
class openmp {
 public:
  /// \throws argument_error unless threads ≥ 1.
  explicit openmp(index threads) : threads_(static_cast<int>(threads)) {
    if (threads < 1 || threads > most_threads)
      softlook::detail::raise_argument("exec::openmp", "threads", double(threads),
                                       "it counts the calling thread: from 1 to 65536");
  }

  [[nodiscard]] index concurrency() const { return threads_; }

  template <class F>
  void bulk(index count, const F& f) const {
    if (count <= 1 || threads_ == 1) {
      for (index task = 0; task < count; ++task) f(task, index{0});
      return;
    }
    const int team = static_cast<int>(count < threads_ ? count : threads_);
#pragma omp parallel for num_threads(team) schedule(dynamic, 1)
    for (index task = 0; task < count; ++task) f(task, index{omp_get_thread_num()});
  }

 private:
  static constexpr index most_threads = 65536;
  int threads_;
};

/// \}

}  // namespace exec
SOFTLOOK_NAMESPACE_END
