#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

#include "softlook/onnx/detail/attention_sizes.hpp"
#include "softlook/onnx/detail/heads.hpp"
#include "softlook/onnx/detail/pairs.hpp"
#include "softlook/transform/transforms.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace onnx {

/// \defgroup onnx Operators of ONNX
/// Attention, RotaryEmbedding, TensorScatter and the preview of FlexAttention as one call each,
/// over pointers and shapes, with the names of the operators' inputs, attributes and outputs.
/// Element types are float, double, Eigen::half and Eigen::bfloat16. Conventions are those of
/// ONNX 1.23.2, whatever the opset:
///   Y = softmax(softcap(scale · Q Kᵀ) + M) V
/// \cases tests/conformance/data/onnx_attention/attention,
///        tests/conformance/data/onnx_attention/rotary_embedding,
///        tests/conformance/data/onnx_attention/flex_attention,
///        tests/conformance/data/onnx_attention/tensor_scatter
/// \{

/// B sequences, H heads of queries, G of keys and values (H a multiple of G), n queries, m new
/// keys, p past ones; d features of a key and e of a value. T is the type of Q and K, U that of V.
template <class T, class U = T>
struct attention_inputs {
  tensor<const T> Q;  ///< (B, H, n, d), or with heads side by side (B, n, H·d)
  tensor<const T> K;  ///< (B, G, m, d), or (B, m, G·d)
  tensor<const U> V;  ///< (B, G, m, e), or (B, m, G·e)
  mask_tensor<softlook::detail::arithmetic<T>> attn_mask{};  ///< up to (B, H, n, p + m)
  tensor<const T> past_key{};                                ///< (B, G, p, d)
  tensor<const U> past_value{};                              ///< (B, G, p, e)
  tensor<const std::int64_t> nonpad_kv_seqlen{};             ///< (B): keys of each sequence
};

struct attention_attributes {
  bool is_causal = false;
  index q_num_heads = 0;  ///< H and G of inputs of rank 3
  index kv_num_heads = 0;
  std::optional<double> scale{};  ///< 1/√d
  double softcap = 0;             ///< 0: none
  int softmax_precision = 0;      ///< see attention()
  int qk_matmul_output_mode = 0;  ///< 0 raw, 1 capped, 2 masked, 3 weights
  index left_window_size = -1;    ///< keys before a query's own position; −1: all
  index right_window_size = -1;   ///< and behind it
};

/// Y must be given; the others are written if they are.
template <class T, class U = T>
struct attention_outputs {
  tensor<T> Y;                   ///< (B, H, n, e), or (B, n, H·e) as Q is
  tensor<T> present_key{};       ///< (B, G, p + m, d)
  tensor<U> present_value{};     ///< (B, G, p + m, e)
  tensor<T> qk_matmul_output{};  ///< (B, H, n, p + m)
};

namespace detail {

inline constexpr const char* in_attention = "onnx::attention";

template <class T, class U>
[[nodiscard]] attention_sizes checked(const attention_inputs<T, U>& in,
                                      const attention_attributes& a,
                                      const attention_outputs<T, U>& out) {
  const char* where = in_attention;
  attention_sizes s = sizes_of_heads(where, in, a);
  add_past(where, in, s);
  softlook::detail::check_positions(where, "the queries", s.queries);
  softlook::detail::check_positions(where, "the keys", s.keys);
  check_lengths(where, in, out, s);
  if (in.attn_mask.of() != mask_tensor<arithmetic<T>>::element::none) {
    check_mask(where, in.attn_mask.shape(), s);
    check_tensor(where, "attn_mask", in.attn_mask.template as<char>());
  }
  check_attributes(where, a);
  if (a.softcap != 0)
    transforms::soft_cap{a.softcap}.check<arithmetic<T>>("onnx::attention: softcap", problem{});
  check_outputs(where, in, out, s);
  return s;
}

/// Rows of the past and new ones behind them, head by head.
template <class T>
void join(const tensor<const T>& past, const tensor_view<const T>& now, T* to) {
  const index held = past.is_given() ? past.shape[2] : 0;
  for (index s = 0; s < now.sequences; ++s)
    for (index h = 0; h < now.heads; ++h) {
      const index head = s * now.heads + h;
      if (held > 0)
        to = std::copy_n(past.data + head * held * now.features, held * now.features, to);
      const matrix_view<T> rows = matrix_of(now, s, h);
      for (index i = 0; i < rows.rows; ++i)
        to = std::copy_n(rows.data + i * rows.row_stride, rows.cols, to);
    }
}

/// Keys, or values, of a call: where they lie, or joined with those of the past.
template <class T>
class present_rows {
 public:
  present_rows(const tensor<const T>& past, const tensor<const T>& now, index heads,
               const tensor<T>& present, const extents& shape)
      : rows_(heads_of(now, heads)) {
    if (!present.is_given() && !past.is_given()) return;
    if (!present.is_given()) joined_.resize(std::size_t(shape.numbers()));
    T* const to = present.is_given() ? present.data : joined_.data();
    join(past, rows_, to);
    if (past.is_given()) rows_ = heads_of(tensor<const T>{to, shape}, heads);
  }
  [[nodiscard]] const tensor_view<const T>& rows() const { return rows_; }

 private:
  tensor_view<const T> rows_;
  std::vector<T> joined_;
};

/// f(mask) in its own type, if it is one of numbers and holds any.
template <class T, class F>
bool with_numbers(const mask_tensor<T>& mask, const F& f) {
  using kind = typename mask_tensor<T>::element;
  if (mask.of() == kind::none || mask.of() == kind::boolean || mask.shape().numbers() == 0)
    return false;
  if constexpr (std::is_same_v<T, float>) {
    if (mask.of() == kind::half) return f(mask.template as<Eigen::half>()), true;
    if (mask.of() == kind::bfloat16) return f(mask.template as<Eigen::bfloat16>()), true;
  }
  return f(mask.template as<T>()), true;
}

template <class T>
[[nodiscard]] allowed_pairs pairs_of(const mask_tensor<T>& mask, const attention_attributes& a,
                                     const attention_sizes& s, const std::int32_t* lengths) {
  const index given = mask.shape().rank() > 0 ? mask.shape()[mask.shape().rank() - 1] : s.keys;
  allowed_pairs pairs;
  pairs.queries = s.queries;
  pairs.keys = given;
  pairs.lengths = lengths;
  pairs.past = s.past;
  if (a.left_window_size >= 0) pairs.left = a.left_window_size;
  if (a.right_window_size >= 0) pairs.right = a.right_window_size;
  if (a.is_causal) pairs.right = 0;
  pairs.left = std::min(pairs.left, allowed_pairs::unbounded);
  pairs.right = std::min(pairs.right, allowed_pairs::unbounded);
  if (mask.of() == mask_tensor<T>::element::boolean && given > 0) {
    pairs.allowed = mask.template as<bool>().data;
    pairs.at = mask_strides(mask.shape());
    pairs.key_stride = 1;
  }
  const auto add = [&](const auto& M) {
    using element = std::remove_const_t<std::remove_pointer_t<decltype(M.data)>>;
    pairs.added = M.data;
    pairs.added_at = mask_strides(M.shape);
    pairs.forbidden = &all_forbidden<element>;
  };
  with_numbers(mask, add);
  return pairs;
}

/// f(transforms…): the soft cap and the mask that is added, where they are given.
template <class T, class F>
void with_transforms(const mask_tensor<T>& mask, double softcap, const F& f) {
  const auto cap = [&](const auto&... more) {
    if (softcap != 0)
      f(transforms::soft_cap{softcap}, more...);
    else
      f(more...);
  };
  const auto add = [&](const auto& M) {
    using element = std::remove_const_t<std::remove_pointer_t<decltype(M.data)>>;
    cap(added_mask<element>{M.data, mask_strides(M.shape)});
  };
  if (!with_numbers(mask, add)) cap();
}

/// The scores at the stage of the mode, a head at a time.
template <class T, class Key, class Out>
void show_scores(const softlook::detail::executor_ref& exec, const shown_call<T>& call,
                 const attention_attributes& a, const tensor_view<const T>& Q,
                 const tensor_view<const Key>& K, const tensor<Out>& to) {
  for_each_head(exec, Q, K.rows, [&](const problem& p) {
    const int mode = a.qk_matmul_output_mode;
    row_major<T> S = scores_of(call, Q, K, p,
                               mode < 2    ? shown::raw
                               : mode == 2 ? shown::masked
                                           : shown::weights);
    if (mode == 1 && a.softcap != 0)
      for (index x = 0; x < S.size(); ++x)
        S.data()[x] = transforms::soft_cap{a.softcap}(S.data()[x], 0, 0, p);
    std::transform(S.data(), S.data() + S.size(),
                   to.data + (p.sequence * Q.heads + p.head) * S.size(),
                   [](T x) { return static_cast<Out>(x); });
  });
}

template <class T, class U, class... Ps>
void attend(const attention_inputs<T, U>& in, const attention_attributes& a,
            const attention_outputs<T, U>& out, const Ps&... ps) {
  using scalar = arithmetic<T>;
  const attention_sizes s = checked(in, a, out);
  const options o =
      options_with<T>(in_attention, softlook::detail::options_of(ps...), a.scale, s.features);
  const numbers_as<scalar, T> queries(in.Q);
  const tensor_view<const scalar> Q = heads_of(queries.read(), s.query_heads);
  const std::vector<std::int32_t> lengths(
      in.nonpad_kv_seqlen.data,
      in.nonpad_kv_seqlen.data +
          in.nonpad_kv_seqlen.shape.numbers() * index{in.nonpad_kv_seqlen.is_given()});
  const allowed_pairs pairs =
      pairs_of(in.attn_mask, a, s, lengths.empty() ? nullptr : lengths.data());
  numbers_from<scalar, T> results(out.Y);
  const tensor_view<scalar> O = heads_of(results.write(), s.query_heads);
  const present_rows<T> K(in.past_key, in.K, s.kv_heads, out.present_key, s.present_key());
  const present_rows<U> V(in.past_value, in.V, s.kv_heads, out.present_value, s.present_value());
  const padded_batch sequences{.sequences = s.sequences, .key_lengths = lengths};
  with_transforms(in.attn_mask, a.softcap, [&](const auto&... transform) {
    with_executor(
        [&](const auto&... exec) {
          attention_into(Q, K.rows(), V.rows(), O, pairs, transform..., sequences, o, exec...);
        },
        ps...);
    if (!out.qk_matmul_output.is_given()) return;
    const softlook::detail::stated_policies<scalar, allowed_pairs,
                                            std::remove_cvref_t<decltype(transform)>...>
    stated(softlook::detail::layer_call_of(in_attention, o), pairs, transform...);
    show_scores(softlook::detail::exec_of(ps...),
                shown_call<scalar>{o.isa.value(), scalar(o.scale.value()), (*stated).policy}, a, Q,
                K.rows(), out.qk_matmul_output);
  });
  results.store();
}

}  // namespace detail

/// ONNX Attention, of opsets 23, 24 and 25:
///   Y = softmax(softcap(scale · Q Kᵀ) + M) V,  softcap(s) = c·tanh(s / c),
/// in each sequence and head, where K and V begin with those of the past and M forbids what mask,
/// lengths and windows do.
///
/// \see https://onnx.ai/onnx/operators/onnx__Attention.html
/// Query i stands at position i + o among the keys: o is the number of past keys; or, with
/// nonpad_kv_seqlen, the sequence's length − n, which may be negative; or else 0, also if n ≠ m.
/// is_causal leaves keys j ≤ i + o, windows those with i + o − left ≤ j ≤ i + o + right, lengths
/// the first ones. A query that is left no key, or only −∞ by the mask, gets zeros in Y and in
/// mode 3.
///
/// attn_mask has up to four dimensions, aligned with (B, H, n, p + m) at the right. An extent of 1
/// is repeated, except the last: where that is short, keys behind it are forbidden. Of bool, true =
/// attend; of numbers, it is added behind the soft cap, and −∞ forbids a pair whatever its score
/// is, NaN included.
///
/// qk_matmul_output is written at a stage: 0 scale · Q Kᵀ, 1 after the soft cap, 2 after the mask,
/// 3 the weights. All opsets follow ONNX 1.23.2: releases up to 1.20 had the soft cap behind the
/// mask, modes 1 and 2 exchanged and another causal offset. The scale multiplies the product once,
/// where the reference multiplies both factors by its root.
///
/// Arithmetic is in float for float and 16 bits, in double for double, and rounded to T once.
/// softmax_precision is checked and changes nothing: with 11 (double) and narrower inputs the
/// softmax is still that of float. K and V of 16 bits, and masks, are read as they are; Q and Y of
/// 16 bits are converted. Without qk_matmul_output no n×m matrix is stored.
///
/// \param policies  an executor and options{…}, whose scale is unset.
/// \throws shape_error unless shapes fit; argument_error for an attribute or a length out of range,
///         a null pointer, nonpad_kv_seqlen beside past or present, options.kernel = naive with 16
///         bits, or an output that overlaps anything. Nothing has been written then.
/// Cost: as softlook::attention(); a past without present outputs is copied for the call.
template <class T, class U, class... Ps>
void attention(const attention_inputs<T, U>& in, const attention_attributes& attributes,
               const attention_outputs<T, U>& out, const Ps&... policies) {
  static_assert(
      real_scalar<softlook::detail::arithmetic<T>> &&
          std::is_same_v<softlook::detail::arithmetic<T>, softlook::detail::arithmetic<U>>,
      "softlook: tensors are of float, Eigen::half or Eigen::bfloat16, or all of double");
  if constexpr (detail::check_policies<Ps...>()) detail::attend(in, attributes, out, policies...);
}

/// \}

}  // namespace onnx
SOFTLOOK_NAMESPACE_END
