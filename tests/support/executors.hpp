// Executors as users write them: other orders, other worker numbers, threads of their own.
#pragma once

#include <thread>
#include <vector>

#include "softlook/core/types.hpp"

namespace softlook_test {

struct last_task_first {
  softlook::index concurrency() const { return 1; }
  template <class F>
  void bulk(softlook::index count, const F& f) const {
    for (softlook::index task = count; task-- > 0;) f(task, softlook::index{0});
  }
};

/// Deals the tasks to workers in turn, on the calling thread.
struct round_robin {
  softlook::index workers = 5;
  softlook::index concurrency() const { return workers; }
  template <class F>
  void bulk(softlook::index count, const F& f) const {
    for (softlook::index task = 0; task < count; ++task) f(task, task % workers);
  }
};

/// round_robin that counts its sets of tasks. A block of rows is through all steps of a set before
/// the next one begins, so steps that must wait for each other have to be in different sets.
struct counted_sets {
  softlook::index workers;
  softlook::index* sets;
  softlook::index concurrency() const { return workers; }
  template <class F>
  void bulk(softlook::index count, const F& f) const {
    ++*sets;
    round_robin{workers}.bulk(count, f);
  }
};

struct thread_per_worker {
  softlook::index workers = 3;
  softlook::index concurrency() const { return workers; }
  template <class F>
  void bulk(softlook::index count, const F& f) const {
    std::vector<std::thread> threads;
    for (softlook::index worker = 0; worker < workers; ++worker)
      threads.emplace_back([&f, count, worker, this] {
        for (softlook::index task = worker; task < count; task += workers) f(task, worker);
      });
    for (std::thread& thread : threads) thread.join();
  }
};

}  // namespace softlook_test
