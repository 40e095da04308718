#pragma once

#include <string>
#include <vector>

#include "softlook/attention.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// Query heads, and the heads of keys and values that groups of them share: kv = query is
/// multi-head, kv = 1 multi-query attention, anything between grouped-query attention. Unset kv is
/// query.
struct heads {
  index query = 1;
  std::optional<index> kv{};
};

/// Columns of one head in a packed n×(heads·d) matrix; no copy.
template <dense_expression X>
[[nodiscard]] auto head_columns(X&& x, index head, index count) {
  static_assert(!detail::dying_matrix<X>,
                "softlook: head_columns looks at its matrix; give it one that outlives the block");
  if (count < 1 || x.cols() % count != 0)
    detail::raise_sizes("head_columns", "X.cols()", x.cols(), "the number of heads", count,
                        "every head has the same number of columns");
  if (head < 0 || head >= count)
    detail::raise_argument("head_columns", "head", double(head),
                           "it must lie between 0 and " + std::to_string(count - 1));
  const index width = x.cols() / count;
  return x.middleCols(head * width, width);
}

namespace detail {

template <class T>
void check_heads(const forward_call<T>& c) {
  const char* where = c.where;
  const auto divides = [&](const char* name, index columns, const char* heads_name, index count) {
    if (columns % count != 0)
      raise_sizes(where, name, columns, heads_name, count,
                  "every head has the same number of columns");
  };
  if (c.query_heads < 1)
    raise_argument(where, "heads.query", double(c.query_heads), "there is at least 1 head");
  if (c.kv_heads < 1)
    raise_argument(where, "heads.kv", double(c.kv_heads), "there is at least 1 head");
  if (c.query_heads % c.kv_heads != 0)
    raise_sizes(where, "heads.query", c.query_heads, "heads.kv", c.kv_heads,
                "each key and value head serves the same number of query heads");
  divides("Q.cols()", c.Q.cols, "heads.query", c.query_heads);
  divides("K.cols()", c.K.cols, "heads.kv", c.kv_heads);
  divides("V.cols()", c.V.cols, "heads.kv", c.kv_heads);
}

template <class Q, class K, class V>
[[nodiscard]] forward_call<scalar_of<Q>> packed_call(const char* where, const readable<Q>& q,
                                                     const readable<K>& k, const readable<V>& v,
                                                     const heads& h) {
  forward_call<scalar_of<Q>> c;
  c.where = where;
  c.Q = q.view();
  c.K = k.view();
  c.V = v.view();
  c.query_heads = h.query;
  c.kv_heads = h.kv.value_or(h.query);
  check_heads(c);
  return c;
}

template <class Q, class K, class V, class O, class... Ps>
void attend_heads(const char* where, const Q& q, const K& k, const V& v, O& o,
                  mutable_matrix_view<scalar_of<Q>> log_sum_exp, const heads& h,
                  const Ps&... policies) {
  using T = scalar_of<Q>;
  const readable<Q> queries(q);
  const readable<K> keys(k);
  const readable<V> values(v);
  forward_call<T> given = packed_call<Q, K, V>(where, queries, keys, values, h);
  given.O = writable_view(o);
  given.log_sum_exp = log_sum_exp;
  sorted_call<T, Ps...> sorted(given, policies...);
  check_output(sorted.call);
  sorted.run();
}

[[nodiscard]] inline index output_columns(index value_columns, const heads& h) {
  const index kv = h.kv.value_or(h.query);
  return kv > 0 && h.query > 0 ? value_columns / kv * h.query : 0;
}

}  // namespace detail

/// Multi-head attention of inputs that are already projected, heads side by side:
///   O_h = attention(Q_h, K_g, V_g),  g = h / (query / kv).
///
/// \see Vaswani et al., 2017, section 3.2.2; Shazeer, 2019 (multi-query); Ainslie et al., 2023
/// (grouped). Q: n×(query·d), K: m×(kv·d), V: m×(kv·e) -> O: n×(query·e). Heads are read in place.
/// Policies as in attention(); functors and ALiBi slopes are told the query head.
/// \throws shape_error  unless heads divide the columns and kv divides query.
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto multi_head_attention(const Q& q, const K& k, const V& v, const heads& h,
                                        const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>()) {
    plain_matrix_like<Q> o(q.rows(), detail::output_columns(v.cols(), h));
    detail::attend_heads("multi_head_attention", q, k, v, o, {}, h, policies...);
    return o;
  }
}

/// multi_head_attention() into the caller's matrix.
/// \throws argument_error  if O overlaps an input.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          class... Ps>
void multi_head_attention_into(const Q& q, const K& k, const V& v, O&& o, const heads& h,
                               const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_scalars<Q, O>()) {
    detail::attend_heads("multi_head_attention_into", q, k, v, o, {}, h, policies...);
  }
}

/// Output n×(query·e) and natural log-sum-exp n×query.
template <class Matrix>
struct multi_head_state {
  Matrix output;
  Matrix log_sum_exp;
};

/// multi_head_attention() and the log-sum-exp of every query and head.
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto multi_head_attention_with_log_sum_exp(const Q& q, const K& k, const V& v,
                                                         const heads& h, const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>()) {
    using matrix = plain_matrix_like<Q>;
    multi_head_state<matrix> state{matrix(q.rows(), detail::output_columns(v.cols(), h)),
                                   matrix(q.rows(), std::max<index>(h.query, 0))};
    detail::attend_heads("multi_head_attention_with_log_sum_exp", q, k, v, state.output,
                         detail::writable_view(state.log_sum_exp), h, policies...);
    return state;
  }
}

/// The weights of every query head, n×m each.
template <dense_expression Q, dense_expression K, class... Ps>
[[nodiscard]] auto multi_head_attention_weights(const Q& q, const K& k, const heads& h,
                                                const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, K, Ps...>()) {
    using T = detail::scalar_of<Q>;
    const detail::readable<Q> queries(q);
    const detail::readable<K> keys(k);
    detail::forward_call<T> given =
        detail::packed_call<Q, K, K>("multi_head_attention_weights", queries, keys, keys, h);
    given.V = given.K.columns(0, 0);
    detail::sorted_call<T, Ps...> sorted(given, policies...);
    std::vector<plain_matrix_like<Q>> weights;
    for (index head = 0; head < sorted.call.query_heads; ++head)
      weights.emplace_back(detail::run_weights(sorted.call, sorted.exec(), head));
    return weights;
  }
}

SOFTLOOK_NAMESPACE_END
