#pragma once

#include <limits>

#include "softlook/engine/call/checks.hpp"
#include "softlook/onnx/detail/checks.hpp"

// The sizes of ONNX Attention, and what must hold of its inputs and outputs.

SOFTLOOK_NAMESPACE_BEGIN
namespace onnx::detail {

struct attention_sizes {
  index sequences = 0;
  index query_heads = 0;
  index kv_heads = 0;
  index queries = 0;
  index past = 0;
  index keys = 0;  // with those of the past
  index features = 0;
  index values = 0;

  [[nodiscard]] extents scores() const { return {sequences, query_heads, queries, keys}; }
  [[nodiscard]] extents present_key() const { return {sequences, kv_heads, keys, features}; }
  [[nodiscard]] extents present_value() const { return {sequences, kv_heads, keys, values}; }
};

/// Heads of an input: the second axis, or an attribute that divides the last one.
inline index check_heads(const char* where, const char* name, const extents& shape,
                         const char* attribute, index given) {
  if (shape.rank() == 4) {
    if (given != 0)
      check_extent(where, name, shape, 1, attribute, given,
                   "of tensors of rank 4 the shape says how many heads there are");
    return shape[1];
  }
  if (given < 1)
    raise_argument(where, attribute, double(given),
                   "tensors of rank 3 have their heads side by side, at least 1");
  if (shape[2] % given != 0)
    raise_sizes(where, formatted("%s.shape[2]", name).text, shape[2], attribute, given,
                "every head has the same number of features");
  return given;
}

/// Q, K and V against each other.
template <class Inputs, class Attributes>
[[nodiscard]] attention_sizes sizes_of_heads(const char* where, const Inputs& in,
                                             const Attributes& a) {
  const index rank = in.Q.shape.rank();
  require_given(where, "Q", in.Q);
  require_given(where, "K", in.K);
  require_given(where, "V", in.V);
  check_tensor(where, "Q", in.Q, rank == 3 ? 3 : 4, "it is 3 (heads side by side) or 4");
  check_tensor(where, "K", in.K, rank, "K has the rank of Q");
  check_tensor(where, "V", in.V, rank, "V has the rank of Q");
  const extents &Q = in.Q.shape, &K = in.K.shape, &V = in.V.shape;
  attention_sizes s;
  s.sequences = Q[0];
  s.query_heads = check_heads(where, "Q", Q, "q_num_heads", a.q_num_heads);
  s.kv_heads = check_heads(where, "K", K, "kv_num_heads", a.kv_num_heads);
  const index of_values = check_heads(where, "V", V, "kv_num_heads", a.kv_num_heads);
  check_extent(where, "K", K, 0, "Q.shape[0]", Q[0], "all inputs are of one batch");
  check_extent(where, "V", V, 0, "Q.shape[0]", Q[0], "all inputs are of one batch");
  softlook::detail::check_sizes(where, "the heads of V", of_values, "those of K", s.kv_heads,
                                "each key has one value");
  softlook::detail::check_heads(where, s.query_heads, s.kv_heads);
  const index rows = rank == 4 ? 2 : 1;
  s.queries = Q[rows];
  s.keys = K[rows];
  check_extent(where, "V", V, rows, "the keys of K", s.keys, "each key has one value");
  const auto width = [&](const extents& X, index heads) { return rank == 4 ? X[3] : X[2] / heads; };
  s.features = width(Q, s.query_heads);
  s.values = width(V, s.kv_heads);
  softlook::detail::check_sizes(where, "the features of a head of K", width(K, s.kv_heads),
                                "those of Q", s.features,
                                "queries and keys share one feature size");
  return s;
}

/// Keys and values of earlier calls, before those of this one.
template <class Inputs>
void add_past(const char* where, const Inputs& in, attention_sizes& s) {
  if (!in.past_key.is_given() && !in.past_value.is_given()) return;
  require_given(where, "past_key (past_value is there)", in.past_key);
  require_given(where, "past_value (past_key is there)", in.past_value);
  check_tensor(where, "past_key", in.past_key, 4, "it is (batch, heads, keys, features)");
  s.past = in.past_key.shape[2];
  check_shape(where, "past_key", in.past_key, {s.sequences, s.kv_heads, s.past, s.features},
              "the past has the heads and features of K");
  check_shape(where, "past_value", in.past_value, {s.sequences, s.kv_heads, s.past, s.values},
              "the past has a value for each key");
  s.keys += s.past;
}

template <class Inputs, class Outputs>
void check_lengths(const char* where, const Inputs& in, const Outputs& out,
                   const attention_sizes& s) {
  const auto& lengths = in.nonpad_kv_seqlen;
  if (!lengths.is_given()) return;
  if (in.past_key.is_given() || out.present_key.is_given() || out.present_value.is_given())
    softlook::detail::raise<argument_error>(
        formatted("%s: nonpad_kv_seqlen is given beside past or present keys and values (K and V "
                  "hold all rows where it is given)",
                  where)
            .text);
  check_shape(where, "nonpad_kv_seqlen", lengths, {s.sequences},
              "there is a length for each sequence");
  for (index b = 0; b < s.sequences; ++b)
    if (lengths.data[b] < 0 || lengths.data[b] > s.keys)
      raise_argument(where, formatted("nonpad_kv_seqlen[%td]", b).text, double(lengths.data[b]),
                     formatted("it lies between 0 and the keys, %td", s.keys).text);
}

/// A mask is aligned at the right, extents of 1 are repeated; the last one may be short.
inline void check_mask(const char* where, const extents& shape, const attention_sizes& s) {
  const index rank = shape.rank();
  if (rank < 1 || rank > 4)
    raise_argument(where, "the rank of attn_mask", double(rank),
                   "it is 1 (keys), 2 (queries, keys), 3 (heads, …) or 4 (batch, …)");
  const extents all = s.scores();
  constexpr const char* names[] = {"the batch", "q_num_heads", "the queries"};
  for (index k = 1; k < rank; ++k) {
    const index axis = rank - 1 - k;
    if (shape[axis] != 1)
      check_extent(where, "attn_mask", shape, axis, names[3 - k], all[3 - k],
                   "an axis of a mask is that of the scores, or 1");
  }
  if (shape[rank - 1] > s.keys)
    raise_sizes(where, formatted("attn_mask.shape[%td]", rank - 1).text, shape[rank - 1],
                "the keys", s.keys, "a mask may speak of fewer keys, but not of more");
}

template <class Attributes>
void check_attributes(const char* where, const Attributes& a) {
  if (a.qk_matmul_output_mode < 0 || a.qk_matmul_output_mode > 3)
    raise_argument(where, "qk_matmul_output_mode", double(a.qk_matmul_output_mode),
                   "it is 0, 1, 2 or 3");
  const auto side = [&](const char* name, index reaches) {
    if (reaches < -1)
      raise_argument(where, name, double(reaches), "a window reaches 0 or more keys; -1: all");
  };
  side("left_window_size", a.left_window_size);
  side("right_window_size", a.right_window_size);
  check_softmax_precision(where, a.softmax_precision);
}

/// Outputs against the sizes, the inputs and each other.
template <class Inputs, class Outputs>
void check_outputs(const char* where, const Inputs& in, const Outputs& out,
                   const attention_sizes& s) {
  require_given(where, "Y", out.Y);
  const extents Y = in.Q.shape.rank() == 4
                        ? extents{s.sequences, s.query_heads, s.queries, s.values}
                        : extents{s.sequences, s.queries, s.query_heads * s.values};
  check_shape(where, "Y", out.Y, Y, "Y has the rank of Q, and a value for each query and head");
  if (out.present_key.is_given())
    check_shape(where, "present_key", out.present_key, s.present_key(),
                "it holds the past and K, (batch, heads, keys, features)");
  if (out.present_value.is_given())
    check_shape(where, "present_value", out.present_value, s.present_value(),
                "it holds the past and V, (batch, heads, keys, features)");
  if (out.qk_matmul_output.is_given())
    check_shape(where, "qk_matmul_output", out.qk_matmul_output, s.scores(),
                "it holds a number for each head, query and key");
  const auto apart_from_inputs = [&](const char* name, const auto& O) {
    check_apart(where, name, O, "Q", in.Q);
    check_apart(where, name, O, "K", in.K);
    check_apart(where, name, O, "V", in.V);
    check_apart(where, name, O, "past_key", in.past_key);
    check_apart(where, name, O, "past_value", in.past_value);
    check_apart(where, name, O, "attn_mask", in.attn_mask.memory());
    check_apart(where, name, O, "nonpad_kv_seqlen", in.nonpad_kv_seqlen);
  };
  apart_from_inputs("Y", out.Y);
  apart_from_inputs("present_key", out.present_key);
  apart_from_inputs("present_value", out.present_value);
  apart_from_inputs("qk_matmul_output", out.qk_matmul_output);
  check_apart(where, "Y", out.Y, "present_key", out.present_key);
  check_apart(where, "Y", out.Y, "present_value", out.present_value);
  check_apart(where, "Y", out.Y, "qk_matmul_output", out.qk_matmul_output);
  check_apart(where, "present_key", out.present_key, "present_value", out.present_value);
  check_apart(where, "present_key", out.present_key, "qk_matmul_output", out.qk_matmul_output);
  check_apart(where, "present_value", out.present_value, "qk_matmul_output", out.qk_matmul_output);
}

}  // namespace onnx::detail
SOFTLOOK_NAMESPACE_END
