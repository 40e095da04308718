#pragma once

#include "softlook/core/types.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace exec {

/// \defgroup executors Executors
/// Who runs the tasks of a call. No result depends on it.
/// \cases tests/unit/exec/thread_pool_test.cpp
/// \{

/// Runs every task on the calling thread. The default.
struct sequential {
  /// Tasks run on the calling thread, so nothing of it need be carried over to them.
  static constexpr bool on_caller = true;
  [[nodiscard]] index concurrency() const { return 1; }
  template <class F>
  void bulk(index count, const F& f) const {
    for (index task = 0; task < count; ++task) f(task, index{0});
  }
};

/// \}

}  // namespace exec
SOFTLOOK_NAMESPACE_END
