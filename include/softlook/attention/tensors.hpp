#pragma once

#include <functional>
#include <type_traits>

#include "softlook/engine/call/bound_call.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup tensors Batches in memory
/// Attention over pointers and strides: for programs whose matrices are not Eigen's, and for
/// batches in four dimensions.
/// \cases tests/conformance/data/onnx_attention/attention
/// \program examples/clients/raw_pointers.cpp
/// \{

/// Numbers of a batch in memory: number (s, h, i, c) of sequence s, head h, row i and feature c
/// lies at data + s·sequence_stride + h·head_stride + i·row_stride + c·feature_stride. Nothing is
/// copied. Element is const for inputs; keys and values may be Eigen::half or Eigen::bfloat16.
template <class Element>
struct tensor_view {
  Element* data = nullptr;
  index sequences = 1;
  index heads = 1;
  index rows = 0;
  index features = 0;
  index sequence_stride = 0;
  index head_stride = 0;
  index row_stride = 0;
  index feature_stride = 1;

  /// What is written can be read.
  operator tensor_view<const Element>() const
    requires(!std::is_const_v<Element>)
  {
    return {data,        sequences,  heads,         rows, features, sequence_stride,
            head_stride, row_stride, feature_stride};
  }
};

/// A contiguous batch in the order (sequence, head, row, feature): PyTorch, ONNX.
template <class Element>
[[nodiscard]] tensor_view<Element> sequence_head_row(Element* data, index sequences, index heads,
                                                     index rows, index features) {
  return {data,     sequences, heads, rows, features, heads * rows * features, rows * features,
          features, 1};
}
/// A contiguous batch in the order (sequence, row, head, feature): Keras, JAX, FlashAttention.
template <class Element>
[[nodiscard]] tensor_view<Element> sequence_row_head(Element* data, index sequences, index rows,
                                                     index heads, index features) {
  return {data,     sequences,        heads, rows, features, rows * heads * features,
          features, heads * features, 1};
}

namespace detail {

template <class Element>
using tensor_scalar = std::remove_const_t<Element>;

/// A tensor's rows with its heads in the columns, as sizes are checked; heads lie apart.
template <class T, class Element>
[[nodiscard]] strided_view<T> heads_in_columns(const tensor_view<Element>& X) {
  T* data = nullptr;
  if constexpr (std::is_same_v<tensor_scalar<Element>, std::remove_const_t<T>>) data = X.data;
  const bool read = data != nullptr;
  return {data, X.rows, X.heads * X.features, read ? X.row_stride : 0, read ? X.feature_stride : 0};
}

template <class T, class Element>
[[nodiscard]] row_source<T> source_of_tensor(const tensor_view<Element>& X, instruction_set isa) {
  using stored = tensor_scalar<Element>;
  using bits = std::conditional_t<std::is_same_v<stored, T>, T, bits_of<stored>>;
  const matrix_view<bits> view{reinterpret_cast<const bits*>(X.data), X.rows, X.heads * X.features,
                               X.row_stride, X.feature_stride};
  return source_of<T>(view, stored_rows_of<T, bits>(isa));
}

/// Bytes between the first and the last number.
template <class Element>
[[nodiscard]] std::pair<const char*, const char*> span_of(const tensor_view<Element>& X) {
  index low = 0, high = 1;
  const auto add = [&](index count, index stride) {
    (stride < 0 ? low : high) += (count - 1) * stride;
  };
  add(X.sequences, X.sequence_stride);
  add(X.heads, X.head_stride);
  add(X.rows, X.row_stride);
  add(X.features, X.feature_stride);
  return {reinterpret_cast<const char*>(X.data + low),
          reinterpret_cast<const char*>(X.data + high)};
}
template <class Element>
[[nodiscard]] bool is_empty(const tensor_view<Element>& X) {
  return X.sequences == 0 || X.heads == 0 || X.rows == 0 || X.features == 0;
}

template <class Element>
void check_tensor(const char* where, const char* name, const tensor_view<Element>& X) {
  const auto count = [&](const char* what, index value) {
    if (value < 0)
      raise_argument(where, formatted("%s.%s", name, what).text, double(value),
                     "it is not negative");
  };
  count("sequences", X.sequences);
  count("heads", X.heads);
  count("rows", X.rows);
  count("features", X.features);
  if (!X.data && !is_empty(X))
    raise<argument_error>(formatted("%s: %s.data is null", where, name).text);
}

template <class Out, class Element>
void check_apart(const char* where, const char* input, const tensor_view<Out>& O,
                 const char* output, const tensor_view<Element>& X) {
  if (is_empty(O) || is_empty(X)) return;
  const auto a = span_of(O), b = span_of(X);
  const std::less<const char*> before;
  if (before(a.first, b.second) && before(b.first, a.second))
    raise<argument_error>(formatted("%s: the memory of %s lies among that of %s (the output is "
                                    "written while the inputs are still read)",
                                    where, output, input)
                              .text);
}

template <class... Ps>
constexpr bool check_tensor_policies() {
  constexpr bool no_heads = !((is_heads<Ps> || is_frame<Ps>) || ...);
  constexpr bool padded = !(std::is_same_v<Ps, segments> || ...);
  static_assert(no_heads, "softlook: a tensor knows its heads, and its rows are all there are");
  static_assert(padded, "softlook: sequences of a tensor have lengths: padded_batch{…}");
  return no_heads && padded;
}

template <class T, class QE, class KE, class VE, class... Ps>
void attend_tensors(const char* where, const tensor_view<QE>& Q, const tensor_view<KE>& K,
                    const tensor_view<VE>& V, const tensor_view<T>& O, const tensor_view<T>& L,
                    const Ps&... ps) {
  check_tensor(where, "Q", Q);
  check_tensor(where, "K", K);
  check_tensor(where, "V", V);
  check_tensor(where, "O", O);
  using policies = stated_policies<T, Ps..., heads>;
  static_assert(!policies::projects, "softlook: tensors are scored as they are: by a dot product");
  const policies sorted(where, ps..., heads{.query = Q.heads, .kv = K.heads});
  check_heads(where, Q.heads, K.heads);
  check_sizes(where, "K.sequences", K.sequences, "Q.sequences", Q.sequences,
              "each sequence has its keys");
  check_sizes(where, "V.sequences", V.sequences, "Q.sequences", Q.sequences,
              "each sequence has its values");
  check_sizes(where, "V.heads", V.heads, "K.heads", K.heads, "each key has one value");
  check_sizes(where, "K.features", K.features, "Q.features", Q.features,
              "queries and keys share one feature size");
  check_sizes(where, "O.sequences", O.sequences, "Q.sequences", Q.sequences,
              "one output for each query");
  check_sizes(where, "O.heads", O.heads, "Q.heads", Q.heads, "one output for each query");
  check_sizes(where, "O.rows", O.rows, "Q.rows", Q.rows, "one output row for each query");
  check_sizes(where, "O.features", O.features, "V.features", V.features,
              "an output row is as long as a value");
  check_apart(where, "Q", O, "O", Q);
  check_apart(where, "K", O, "O", K);
  check_apart(where, "V", O, "O", V);
  attention_call<T> c(*sorted);
  c.place_sequences = nullptr;  // they are the tensors' own
  c.Q = heads_in_columns<const T>(Q);
  c.K = heads_in_columns<const T>(K);
  c.V = heads_in_columns<const T>(V);
  c.key_rows = source_of_tensor<T>(K, c.isa);
  c.value_rows = source_of_tensor<T>(V, c.isa);
  c.O = heads_in_columns<T>(O);
  c.heads_apart = {Q.head_stride, K.head_stride, V.head_stride, O.head_stride, L.head_stride};
  if (L.data) {
    check_tensor(where, "log_sum_exp", L);
    check_sizes(where, "log_sum_exp.sequences", L.sequences, "Q.sequences", Q.sequences,
                "one for each query");
    check_sizes(where, "log_sum_exp.heads", L.heads, "Q.heads", Q.heads, "one for each query");
    check_sizes(where, "log_sum_exp.rows", L.rows, "Q.rows", Q.rows, "one for each query");
    check_sizes(where, "log_sum_exp.features", L.features, "1", 1, "one for each query");
    check_apart(where, "Q", L, "log_sum_exp", Q);
    check_apart(where, "K", L, "log_sum_exp", K);
    check_apart(where, "V", L, "log_sum_exp", V);
    check_apart(where, "O", L, "log_sum_exp", O);
    c.log_sum_exp = {L.data, L.rows, L.heads, L.row_stride, 1};
  }
  if (Q.sequences == 0) return;
  c.score = scores::scaled_dot{}.template recipe<T>(where, Q.features, K.features);
  if constexpr ((score_policy<Ps> || ...))
    c.score = policy_or<score_kind>(scores::scaled_dot{}, ps...)
                  .template recipe<T>(where, Q.features, K.features);
  call_sequences& s = c.sequences;
  s.count = Q.sequences;
  s.queries = Q.rows;
  s.keys = K.rows;
  s.apart = {Q.sequence_stride, K.sequence_stride, V.sequence_stride, O.sequence_stride,
             L.sequence_stride};
  if constexpr ((std::is_same_v<Ps, padded_batch> || ...)) {
    const padded_batch& b = *c.padded_rows;
    check_sizes(where, "padded_batch.sequences", b.sequences, "Q.sequences", Q.sequences,
                "both count the same sequences");
    check_lengths(where, "padded_batch.query_lengths", b.query_lengths, s.count, s.queries);
    check_lengths(where, "padded_batch.key_lengths", b.key_lengths, s.count, s.keys);
    s.query_lengths = b.query_lengths.empty() ? nullptr : b.query_lengths.data();
    s.key_lengths = b.key_lengths.empty() ? nullptr : b.key_lengths.data();
  }
  check_call(c);
  constexpr bool all_T =
      std::is_same_v<tensor_scalar<KE>, T> && std::is_same_v<tensor_scalar<VE>, T>;
  if constexpr (!all_T)
    if (c.opts.kernel == kernel::naive)
      raise<argument_error>(
          formatted("%s: options.kernel is naive, which reads keys and values of 16 bits nowhere",
                    where)
              .text);
  c.naive = &run_naive_sequences<false, T>;
  c.forward = &run_sequences<false, reach::any, T>;
  run(c);
}

}  // namespace detail

/// attention() of every sequence and head of a batch:
///   O_{s,h} = softmax(scale · Q_{s,h} K_{s,g}ᵀ) V_{s,g},  g = h / (Q.heads / K.heads),
/// into the caller's memory. Query heads are a multiple of the heads of keys and values (grouped).
/// \param policies  as of attention(), but a score that projects, heads and a frame; lengths of the
///                  sequences: padded_batch{.sequences = …, .key_lengths = …}.
/// \throws shape_error unless sizes fit; argument_error for a null pointer, a negative size or an
///         output whose memory lies among that of an input. Nothing has been written then.
/// Cost: as attention(); all sequences and heads are shared out together.
template <class QE, class KE, class VE, class T, class... Ps>
void attention_into(const tensor_view<QE>& Q, const tensor_view<KE>& K, const tensor_view<VE>& V,
                    const tensor_view<T>& O, const Ps&... policies) {
  static_assert(real_scalar<T> && std::is_same_v<std::remove_const_t<QE>, T>,
                "softlook: queries and output are float or double");
  static_assert(std::is_same_v<detail::arithmetic<std::remove_const_t<KE>>, T> &&
                    std::is_same_v<detail::arithmetic<std::remove_const_t<VE>>, T>,
                "softlook: keys and values are of the type of Q, or of 16 bits beside float");
  if constexpr (detail::check_tensor_policies<Ps...>() && detail::check_policies<T, Ps...>())
    detail::attend_tensors<T>("attention_into", Q, K, V, O, tensor_view<T>{}, policies...);
}

/// The same with the natural log-sum-exp of each query: a tensor of one feature.
template <class QE, class KE, class VE, class T, class... Ps>
void attention_with_log_sum_exp_into(const tensor_view<QE>& Q, const tensor_view<KE>& K,
                                     const tensor_view<VE>& V, const tensor_view<T>& O,
                                     const tensor_view<T>& log_sum_exp, const Ps&... policies) {
  static_assert(real_scalar<T> && std::is_same_v<std::remove_const_t<QE>, T>,
                "softlook: queries and output are float or double");
  if constexpr (detail::check_tensor_policies<Ps...>() && detail::check_policies<T, Ps...>())
    detail::attend_tensors<T>("attention_with_log_sum_exp_into", Q, K, V, O, log_sum_exp,
                              policies...);
}

/// \}

SOFTLOOK_NAMESPACE_END
