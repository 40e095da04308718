#pragma once

#include <cstdint>

#include "softlook/engine/run/attention_call.hpp"

// The heads of a call as calls of one head, for what differs from head to head: the keys that its
// queries may see, or how its rows follow from one another.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// The mask and the transforms of a call of several heads, for a call of one of them: they are told
/// which it is.
template <class T>
class policies_of_head {
 public:
  policies_of_head(const policy_calls<T>& all, index head, index heads)
      : all_(all), head_(std::int32_t(head)), heads_(std::int32_t(heads)) {}
  policies_of_head(const policies_of_head&) = delete;
  policies_of_head& operator=(const policies_of_head&) = delete;

  /// Of this object, which has checked them already.
  [[nodiscard]] policy_calls<T> calls() const {
    policy_calls<T> own = all_;
    own.mask = {this, nullptr, &key_range, &coverage_of, &forbid_queries, &forbid_keys, &forbid};
    if (all_.transform)
      own.transform = {this, nullptr, &apply_queries, &apply_keys, &apply, nullptr};
    return own;
  }

 private:
  struct asked {
    const policy_calls<T>& policies;
    problem whole;
    [[nodiscard]] const void* mask() const { return policies.mask.mask; }
    [[nodiscard]] const void* transform() const { return policies.transform.transform; }
  };
  [[nodiscard]] static asked of(const void* self, problem p) {
    const auto& head = *static_cast<const policies_of_head*>(self);
    p.head = head.head_;
    p.heads = head.heads_;
    return {head.all_, p};
  }

  static range key_range(const void* self, range queries, problem p) {
    const asked a = of(self, p);
    return a.policies.mask.key_range(a.mask(), queries, a.whole);
  }
  static coverage coverage_of(const void* self, range queries, range keys, problem p) {
    const asked a = of(self, p);
    return a.policies.mask.coverage_of(a.mask(), queries, keys, a.whole);
  }
  static void forbid_queries(const void* self, T* S, const edit_block& b, problem p) {
    const asked a = of(self, p);
    a.policies.mask.forbid_queries(a.mask(), S, b, a.whole);
  }
  static void forbid_keys(const void* self, T* S, const edit_block& b, problem p) {
    const asked a = of(self, p);
    a.policies.mask.forbid_keys(a.mask(), S, b, a.whole);
  }
  static void forbid(const void* self, mutable_matrix_view<T> S, const call_frame& f, problem p) {
    const asked a = of(self, p);
    a.policies.mask.forbid_matrix(a.mask(), S, f, a.whole);
  }
  static void apply_queries(const void* self, T* S, const edit_block& b, problem p, T score_unit) {
    const asked a = of(self, p);
    a.policies.transform.apply_queries(a.transform(), S, b, a.whole, score_unit);
  }
  static void apply_keys(const void* self, T* S, const edit_block& b, problem p, T score_unit) {
    const asked a = of(self, p);
    a.policies.transform.apply_keys(a.transform(), S, b, a.whole, score_unit);
  }
  static void apply(const void* self, mutable_matrix_view<T> S, const call_frame& f, problem p) {
    const asked a = of(self, p);
    a.policies.transform.apply_matrix(a.transform(), S, f, a.whole);
  }

  const policy_calls<T>& all_;
  std::int32_t head_;
  std::int32_t heads_;
};

/// The columns of one query head of a checked call without sequences.
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
  return one;
}

/// f(head, its call) for every query head: the heads are tasks where there is one for each worker,
/// otherwise each has all workers.
template <class T, class F>
void for_each_head(const attention_call<T>& c, const F& f) {
  const auto run = [&](index head, const executor_ref& exec) {
    const policies_of_head<T> told(c.policy, head, c.query_heads);
    attention_call<T> one = call_of_head(c, head);
    one.policy = told.calls();
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
