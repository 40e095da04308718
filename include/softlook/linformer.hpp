#pragma once

#include "softlook/detail/input_product.hpp"
#include "softlook/multi_head.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup linformer Linformer
/// Attention to a fixed number of mixtures of keys: time and memory linear in the number of tokens.
/// \cases tests/unit/linformer_test.cpp
/// \{

namespace detail {

template <class... Ps>
constexpr bool check_linformer_policies() {
  constexpr bool no_mask = (!mask_policy<Ps> && ...);
  static_assert(no_mask,
                "softlook: Linformer mixes keys along the sequence, so no key is left to mask; "
                "leave padding out: K.topRows(m), V.topRows(m), E.leftCols(m), F.leftCols(m)");
  return no_mask;
}

template <class T>
void check_linformer(const forward_call<T>& c, const matrix_view<T>& E, const matrix_view<T>& F) {
  const char* where = c.where;
  check_sizes(where, "V.rows()", c.V.rows, "K.rows()", c.K.rows, "each key has one value");
  check_sizes(where, "E.cols()", E.cols, "K.rows()", c.K.rows, "E has a column for each key");
  check_sizes(where, "F.cols()", F.cols, "V.rows()", c.V.rows, "F has a column for each value");
  check_sizes(where, "F.rows()", F.rows, "E.rows()", E.rows,
              "each projected key has one projected value");
  check_overlap(where, "K", c.O, c.K);
  check_overlap(where, "V", c.O, c.V);
  check_overlap(where, "E", c.O, E);
  check_overlap(where, "F", c.O, F);
}

/// Projects K and V into scratch, then attends to them.
template <class Q, class K, class V, class E, class F, class O, class... Ps>
void linformer(const char* where, const Q& q, const K& k, const V& v, const E& e, const F& f, O& o,
               const heads& h, const Ps&... policies) {
  using T = scalar_of<Q>;
  const readable<Q> queries(q);
  const readable<K> keys(k);
  const readable<V> values(v);
  const readable<E> key_weights(e);
  const readable<F> value_weights(f);
  forward_call<T> given = packed_call<Q, K, V>(where, queries, keys, values, h);
  given.O = writable_view(o);
  check_linformer(given, key_weights.view(), value_weights.view());

  const index rows = e.rows();
  const auto room = [](index count) { return round_up(count, 16); };
  call_memory memory(options_of(policies...).workspace);
  T* const start = memory.template take<T>(room(rows * k.cols()) + room(rows * v.cols()) +
                                           input_product_scratch<T>(std::max(k.cols(), v.cols())));
  const mutable_matrix_view<T> K_bar{start, rows, k.cols(), k.cols(), 1};
  const mutable_matrix_view<T> V_bar{start + room(rows * k.cols()), rows, v.cols(), v.cols(), 1};
  given.K = as_input(K_bar);
  given.V = as_input(V_bar);
  sorted_call<T, Ps...> sorted(given, policies...);
  check_output(sorted.call);
  sorted.call.opts.workspace = memory.inner();

  const product_kernels<T>& kernels = products_of<T>(sorted.call.isa);
  T* const packed = V_bar.data + room(rows * v.cols());
  input_product(kernels, sorted.exec(), key_weights.view(), keys.view(), K_bar, packed);
  input_product(kernels, sorted.exec(), value_weights.view(), values.view(), V_bar, packed);
  sorted.run();
}

template <class Q, class K, class V, class E, class F, class... Ps>
constexpr bool check_linformer_types() {
  if constexpr (check_types<Q, K, V, Ps...>())
    return check_scalars<Q, E, F>() && check_linformer_policies<Ps...>();
  else
    return false;
}

}  // namespace detail

/// Linformer attention: keys and values are projected along the sequence, m of them to k, before
/// they are attended to,
///   O = softmax(scale · Q (E·K)ᵀ) (F·V).
///
/// \see Wang et al., "Linformer: Self-Attention with Linear Complexity", 2020, Eq. (7).
/// Q: n×d, K: m×d, V: m×e, E, F: k×m -> O: n×e in Q's storage order. Give E twice to share one
/// projection between keys and values. Sequences shorter than the trained one take the first
/// columns, E.leftCols(m).
/// \param policies  a score (default scaled_dot), transforms (of query and projected key), an
///                  executor, options; no mask. Causal attention has no such form.
/// Without projected keys (k = 0) rows are zeros; without keys (m = 0) all projected keys are zero.
/// \throws shape_error  unless E and F are k×m and the rest fits as in attention().
/// Cost: O((n + m)·k·(d + e)) time, O(k·(d + e)) scratch besides that of attention().
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression E,
          dense_expression F, class... Ps>
[[nodiscard]] auto linformer_attention(const Q& q, const K& k, const V& v, const E& e, const F& f,
                                       const Ps&... policies) {
  if constexpr (detail::check_linformer_types<Q, K, V, E, F, Ps...>()) {
    plain_matrix_like<Q> o(q.rows(), v.cols());
    detail::linformer("linformer_attention", q, k, v, e, f, o, heads{}, policies...);
    return o;
  }
}

/// linformer_attention() of heads that lie side by side, as in multi_head_attention(); E and F
/// serve all of them ("headwise sharing", section 4).
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression E,
          dense_expression F, class... Ps>
[[nodiscard]] auto linformer_attention(const Q& q, const K& k, const V& v, const E& e, const F& f,
                                       const heads& h, const Ps&... policies) {
  if constexpr (detail::check_linformer_types<Q, K, V, E, F, Ps...>()) {
    plain_matrix_like<Q> o(q.rows(), detail::output_columns(v.cols(), h));
    detail::linformer("linformer_attention", q, k, v, e, f, o, h, policies...);
    return o;
  }
}

/// linformer_attention() into the caller's n×(query·e) matrix, block or map, which is never
/// resized.
/// \throws argument_error  if O overlaps an input; nothing has been written then.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression E,
          dense_expression F, dense_expression O, class... Ps>
void linformer_attention_into(const Q& q, const K& k, const V& v, const E& e, const F& f, O&& o,
                              const heads& h, const Ps&... policies) {
  if constexpr (detail::check_linformer_types<Q, K, V, E, F, Ps...>() &&
                detail::check_scalars<Q, O>())
    detail::linformer("linformer_attention_into", q, k, v, e, f, o, h, policies...);
}
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression E,
          dense_expression F, dense_expression O, class... Ps>
void linformer_attention_into(const Q& q, const K& k, const V& v, const E& e, const F& f, O&& o,
                              const Ps&... policies) {
  linformer_attention_into(q, k, v, e, f, o, heads{}, policies...);
}

/// \}

SOFTLOOK_NAMESPACE_END
