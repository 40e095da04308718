#pragma once

#include <algorithm>
#include <cstdint>

#include "softlook/onnx/detail/checks.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace onnx {

/// \addtogroup onnx
/// \{

/// B sequences of n tokens, H heads of f features, of which the first w turn, in w/2 pairs.
template <class T>
struct rotary_embedding_inputs {
  tensor<const T> X;          ///< (B, H, n, f), or with heads side by side (B, n, H·f)
  tensor<const T> cos_cache;  ///< (positions, w/2); without position_ids (B, n, w/2)
  tensor<const T> sin_cache;
  tensor<const std::int64_t> position_ids{};  ///< (B, n), or (1, n) for all sequences
};

struct rotary_embedding_attributes {
  bool interleaved = false;        ///< features 2k and 2k + 1 turn together; else k and k + w/2
  index num_heads = 0;             ///< of X of rank 3
  index rotary_embedding_dim = 0;  ///< w; 0: all features of a head
};

template <class T>
struct rotary_embedding_outputs {
  tensor<T> Y;  ///< of the shape of X, whose memory it may be
};

namespace detail {

struct rotary_sizes {
  index sequences = 0;
  index heads = 0;
  index rows = 0;
  index features = 0;
  index pairs = 0;
  bool side_by_side = false;

  [[nodiscard]] index row(index s, index h, index i) const {
    return (side_by_side ? (s * rows + i) * heads + h : (s * heads + h) * rows + i) * features;
  }
};

template <class T>
[[nodiscard]] rotary_sizes sizes_of(const char* where, const rotary_embedding_inputs<T>& in,
                                    const rotary_embedding_attributes& a) {
  require_given(where, "X", in.X);
  require_given(where, "cos_cache", in.cos_cache);
  require_given(where, "sin_cache", in.sin_cache);
  const extents& X = in.X.shape;
  check_tensor(where, "X", in.X, X.rank() == 3 ? 3 : 4, "it is 3 (heads side by side) or 4");
  const bool packed = X.rank() == 3;
  if (packed && a.num_heads < 1)
    raise_argument(where, "num_heads", double(a.num_heads),
                   "X of rank 3 has its heads side by side, at least 1");
  if (packed && X[2] % a.num_heads != 0)
    raise_sizes(where, "X.shape[2]", X[2], "num_heads", a.num_heads,
                "every head has the same number of features");
  if (!packed && a.num_heads != 0)
    check_extent(where, "X", X, 1, "num_heads", a.num_heads,
                 "of X of rank 4 the shape says how many heads there are");
  rotary_sizes s{X[0],
                 packed ? a.num_heads : X[1],
                 packed ? X[1] : X[2],
                 packed ? X[2] / a.num_heads : X[3],
                 0,
                 packed};
  const index turning = a.rotary_embedding_dim == 0 ? s.features : a.rotary_embedding_dim;
  if (turning < 0 || turning % 2 != 0 || turning > s.features)
    raise_argument(
        where, "rotary_embedding_dim", double(turning),
        formatted("it is even, and at most the features of a head, %td", s.features).text);
  s.pairs = turning / 2;
  return s;
}

template <class T>
[[nodiscard]] rotary_sizes checked(const rotary_embedding_inputs<T>& in,
                                   const rotary_embedding_attributes& a,
                                   const rotary_embedding_outputs<T>& out) {
  const char* where = "onnx::rotary_embedding";
  const rotary_sizes s = sizes_of(where, in, a);
  const bool listed = in.position_ids.is_given();
  const char* rule = listed ? "with position_ids it is (positions, pairs of features that turn)"
                            : "without position_ids it is (batch, tokens, pairs that turn)";
  check_tensor(where, "cos_cache", in.cos_cache, listed ? 2 : 3, rule);
  const index positions = listed ? in.cos_cache.shape[0] : 0;
  const extents cache =
      listed ? extents{positions, s.pairs} : extents{s.sequences, s.rows, s.pairs};
  check_shape(where, "cos_cache", in.cos_cache, cache, rule);
  check_shape(where, "sin_cache", in.sin_cache, cache, "it has the shape of cos_cache");
  if (listed) {
    check_tensor(where, "position_ids", in.position_ids, 2, "it is (batch, tokens)");
    const extents& at = in.position_ids.shape;
    if (at[0] != 1)
      check_extent(where, "position_ids", at, 0, "X.shape[0]", s.sequences,
                   "there is a position for each token, or one for those of all sequences");
    check_extent(where, "position_ids", at, 1, "the tokens of X", s.rows,
                 "there is a position for each token");
    for (index k = 0; k < at.numbers(); ++k)
      if (const std::int64_t p = in.position_ids.data[k]; p < 0 || p >= positions)
        raise_argument(where, formatted("position_ids[%td]", k).text, double(p),
                       formatted("it is a row of the caches, of %td", positions).text);
  }
  require_given(where, "Y", out.Y);
  check_shape(where, "Y", out.Y, in.X.shape, "Y has the shape of X");
  if (out.Y.data != in.X.data) check_apart(where, "Y", out.Y, "X", in.X);
  check_apart(where, "Y", out.Y, "cos_cache", in.cos_cache);
  check_apart(where, "Y", out.Y, "sin_cache", in.sin_cache);
  check_apart(where, "Y", out.Y, "position_ids", in.position_ids);
  return s;
}

}  // namespace detail

/// ONNX RotaryEmbedding, of opset 23: in each head of a token the pair k of features turns,
///   (a, b) → (a cos_k − b sin_k,  b cos_k + a sin_k),
/// with cos and sin of the token's row in the caches; features behind those that turn are copied.
///
/// \see https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html
/// The caches are read where they lie; arithmetic of 16 bits is in float. Y may be X's own memory.
/// For frequencies instead of caches see softlook::rotary_embedding.
/// \throws shape_error unless shapes fit; argument_error for an attribute or a position out of
///         range, a null pointer, or memory that overlaps otherwise. Nothing has been written then.
template <class T>
void rotary_embedding(const rotary_embedding_inputs<T>& in,
                      const rotary_embedding_attributes& attributes,
                      const rotary_embedding_outputs<T>& out) {
  using scalar = softlook::detail::arithmetic<T>;
  static_assert(real_scalar<scalar>,
                "softlook: tensors are of float, double, Eigen::half or Eigen::bfloat16");
  const detail::rotary_sizes s = detail::checked(in, attributes, out);
  const index step = attributes.interleaved ? 2 : 1, other = attributes.interleaved ? 1 : s.pairs;
  const bool listed = in.position_ids.is_given(), shared = listed && in.position_ids.shape[0] == 1;
  for (index b = 0; b < s.sequences; ++b)
    for (index h = 0; h < s.heads; ++h)
      for (index i = 0; i < s.rows; ++i) {
        const index token = b * s.rows + i;
        const index at = listed ? index(in.position_ids.data[shared ? i : token]) : token;
        const T* const cos = in.cos_cache.data + at * s.pairs;
        const T* const sin = in.sin_cache.data + at * s.pairs;
        const T* const from = in.X.data + s.row(b, h, i);
        T* const to = out.Y.data + s.row(b, h, i);
        for (index k = 0; k < s.pairs; ++k) {
          const scalar x = scalar(from[k * step]), y = scalar(from[k * step + other]);
          const scalar c = scalar(cos[k]), d = scalar(sin[k]);
          to[k * step] = T(x * c - y * d);
          to[k * step + other] = T(y * c + x * d);
        }
        if (to != from) std::copy(from + 2 * s.pairs, from + s.features, to + 2 * s.pairs);
      }
}

/// \}

}  // namespace onnx
SOFTLOOK_NAMESPACE_END
