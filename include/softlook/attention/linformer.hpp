#pragma once

#include "softlook/attention/attention.hpp"
#include "softlook/engine/run/input_product.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup linformer Linformer
/// Attention to a fixed number of mixtures of keys: time and memory linear in the number of tokens.
/// \cases tests/unit/attention/linformer_test.cpp
/// \{

namespace detail {

template <class... Ps>
constexpr bool check_linformer_policies() {
  constexpr bool no_mask = (!(mask_policy<Ps> || is_frame<Ps> || is_sequences<Ps>) && ...);
  static_assert(no_mask,
                "softlook: Linformer mixes keys along the sequence, so no key is left to mask; "
                "leave padding out: K.topRows(m), V.topRows(m), E.leftCols(m), F.leftCols(m)");
  return no_mask;
}

template <class T>
void check_linformer(const char* where, const matrix_view<T>& K, const matrix_view<T>& V,
                     const matrix_view<T>& E, const matrix_view<T>& F) {
  check_sizes(where, "V.rows()", V.rows, "K.rows()", K.rows, "each key has one value");
  check_sizes(where, "E.cols()", E.cols, "K.rows()", K.rows, "E has a column for each key");
  check_sizes(where, "F.cols()", F.cols, "V.rows()", V.rows, "F has a column for each value");
  check_sizes(where, "F.rows()", F.rows, "E.rows()", E.rows,
              "each projected key has one projected value");
}

/// Projects K and V into scratch, then attends to them.
template <class Q, class K, class V, class E, class F, class O, class... Ps>
void linformer(const char* where, const Q& q, const K& k, const V& v, const E& e, const F& f, O& o,
               const Ps&... policies) {
  using T = scalar_of<Q>;
  const readable<Q> queries(q);
  const readable<K> keys(k);
  const readable<V> values(v);
  const readable<E> key_weights(e);
  const readable<F> value_weights(f);
  check_linformer(where, keys.view(), values.view(), key_weights.view(), value_weights.view());

  const index rows = e.rows();
  const auto room = [](index count) { return round_up(count, 16); };
  const sorted_policies<T, Ps...> sorted(where, policies...);
  call_scratch scratch((*sorted).opts.workspace);
  T* const start = scratch.template take<T>(room(rows * k.cols()) + room(rows * v.cols()) +
                                            input_product_scratch<T>(std::max(k.cols(), v.cols())));
  const mutable_matrix_view<T> K_bar{start, rows, k.cols(), k.cols(), 1};
  const mutable_matrix_view<T> V_bar{start + room(rows * k.cols()), rows, v.cols(), v.cols(), 1};
  attention_call<T> call = sorted.bind(queries.view(), as_input(K_bar), as_input(V_bar));
  call.O = writable_view(o);
  check_output(call);
  check_overlap(where, "K", call.O, keys.view());
  check_overlap(where, "V", call.O, values.view());
  check_overlap(where, "E", call.O, key_weights.view());
  check_overlap(where, "F", call.O, value_weights.view());
  call.opts.workspace = scratch.inner();

  const product_kernels<T>& kernels = products_of<T>(call.isa);
  T* const packed = V_bar.data + room(rows * v.cols());
  input_product(kernels, call.exec, key_weights.view(), keys.view(), K_bar, packed);
  input_product(kernels, call.exec, value_weights.view(), values.view(), V_bar, packed);
  run(call);
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
/// \param policies  a score (default scaled_dot), transforms (of query and projected key), heads
///                  that E and F serve alike ("headwise sharing", section 4), an executor, options;
///                  no mask. Causal attention has no such form.
/// Without projected keys (k = 0) rows are zeros; without keys (m = 0) all projected keys are zero.
/// \throws shape_error  unless E and F are k×m and the rest fits as in attention().
/// Cost: O((n + m)·k·(d + e)) time, O(k·(d + e)) scratch besides that of attention().
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression E,
          dense_expression F, class... Ps>
[[nodiscard]] auto linformer_attention(const Q& q, const K& k, const V& v, const E& e, const F& f,
                                       const Ps&... policies) {
  if constexpr (detail::check_linformer_types<Q, K, V, E, F, Ps...>()) {
    plain_matrix_like<Q> o(q.rows(), detail::output_columns(v.cols(), policies...));
    detail::linformer("linformer_attention", q, k, v, e, f, o, policies...);
    return o;
  }
}

/// linformer_attention() into the caller's n×(query·e) matrix, block or map, which is never
/// resized.
/// \throws argument_error  if O overlaps an input; nothing has been written then.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression E,
          dense_expression F, dense_expression O, class... Ps>
void linformer_attention_into(const Q& q, const K& k, const V& v, const E& e, const F& f, O&& o,
                              const Ps&... policies) {
  if constexpr (detail::check_linformer_types<Q, K, V, E, F, Ps...>() &&
                detail::check_scalars<Q, O>())
    detail::linformer("linformer_attention_into", q, k, v, e, f, o, policies...);
}

/// \}

SOFTLOOK_NAMESPACE_END
