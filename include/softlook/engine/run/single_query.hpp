#pragma once

#include "softlook/engine/kernels/dispatch.hpp"
#include "softlook/engine/run/attention_call.hpp"
#include "softlook/engine/run/plan.hpp"

// A decode step over a short cache, without a plan and without scratch.

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// Whether one query of each head sees all of a few keys, and nothing stands between its scores and
/// its weights.
template <class T>
[[nodiscard]] bool is_single_query(const attention_call<T>& c) {
  const policy_calls<T>& p = c.policy;
  const index m = c.K.rows, group = c.group();
  if (c.Q.rows != 1 || m < 1 || m > max_single_keys || !c.exec.on_caller || c.inputs ||
      p.transform || p.weight || c.weights.data || !c.frame.plain() ||
      c.opts.kernel.value_or(kernel::few_queries) != kernel::few_queries ||
      group > most_few_rows(sizeof(T)) || c.query_features() > max_single_features ||
      c.Q.col_stride != 1 || c.O.col_stride != 1)
    return false;
  if (p.mask.is_none) return true;
  const range query{c.frame.first_query, c.frame.first_query + 1};
  const range keys{c.frame.first_key, c.frame.first_key + m};
  problem whole = c.problem_of(0);
  for (index h = 0; h < c.query_heads; ++h, ++whole.head)
    if (p.mask.coverage_of(p.mask.mask, query, keys, whole) != coverage::full) return false;
  return true;
}

/// The call, if it is one of those. Planning and scratch of the other kernel took four times as
/// long as its arithmetic.
template <class T>
[[nodiscard]] bool run_single_query(const attention_call<T>& c) {
  const auto kernel = few_kernels_of<T, false>(c.isa).single_query;
  if (!kernel || !is_single_query(c)) return false;
  const auto apart = [](index given, index beside) { return given != adjacent ? given : beside; };
  const call_distances& d = c.heads_apart;
  const index features = c.query_features(), values = c.values();
  single_query_args<T> a;
  a.Q = c.Q.data;
  a.keys = c.key_rows.columns(0, features);
  a.values = c.value_rows.columns(0, values);
  a.O = c.O.data;
  a.log_sum_exp = c.log_sum_exp.data;
  a.head_stride_Q = apart(d.Q, features);
  a.head_stride_K = apart(d.K, features);
  a.head_stride_V = apart(d.V, values);
  a.head_stride_O = apart(d.O, values);
  a.head_stride_log_sum_exp = apart(d.log_sum_exp, c.log_sum_exp.col_stride);
  a.heads = c.query_heads;
  a.group = c.group();
  a.query_scale = T(c.scale() * log4_e);
  return kernel(a);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
