#pragma once

#include "softlook/engine/run/attention_call.hpp"

// The heads of a call as calls of one head, for what differs from head to head: the keys that its
// queries may see, or how its rows follow from one another.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// One query head of a checked call without sequences; policies are told which it is.
template <class T>
[[nodiscard]] attention_call<T> call_of_head(const attention_call<T>& c, index head) {
  const index kv_head = head / c.group(), d = c.key_features(), e = c.values();
  attention_call<T> one = c;
  one.query_heads = one.kv_heads = 1;
  one.Q = columns_of_head(c.Q, head, c.query_features(), c.heads_apart.Q);
  one.K = columns_of_head(c.K, kv_head, d, c.heads_apart.K);
  one.V = columns_of_head(c.V, kv_head, e, c.heads_apart.V);
  one.key_rows = columns_of_head(c.key_rows, kv_head, d, c.heads_apart.K);
  one.value_rows = columns_of_head(c.value_rows, kv_head, e, c.heads_apart.V);
  if (c.O.data) one.O = columns_of_head(c.O, head, e, c.heads_apart.O);
  if (c.log_sum_exp.data)
    one.log_sum_exp = columns_of_head(c.log_sum_exp, head, 1, c.heads_apart.log_sum_exp);
  one.heads_apart = {};
  one.frame.first_head = head;
  one.frame.heads = c.query_heads;
  return one;
}

/// f(head, its call) for every query head: the heads are tasks where there is one for each worker,
/// otherwise each has all workers.
template <class T, class F>
void for_each_head(const attention_call<T>& c, const F& f) {
  const auto run = [&](index head, const executor_ref& exec) {
    attention_call<T> one = call_of_head(c, head);
    one.exec = exec;
    one.opts.workspace = nullptr;  // one call at a time
    f(head, one);
  };
  if (c.query_heads == 1) {
    attention_call<T> only = c;
    f(index{0}, only);
  } else if (c.query_heads < c.exec.concurrency) {
    for (index head = 0; head < c.query_heads; ++head) run(head, c.exec);
  } else {
    run_tasks(c.exec, c.query_heads, [&](index head, index) { run(head, calling_thread); });
  }
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
