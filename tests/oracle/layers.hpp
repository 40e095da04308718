// Layers by their definitions: plain loops in long double, on the parameters the library is given.
#pragma once

#include "softlook/core/activation.hpp"
#include "softlook/layer/multi_head.hpp"
#include "softlook/transformer/encoder.hpp"
#include "tests/oracle/multi_head.hpp"

namespace oracle {

inline real normal_tail(real x) { return std::erfc(x / std::sqrt(real(2))) / 2; }

/// x·(1 + tanh u)/2 is written as x/(1 + e^{−2u}): the sum would cancel for large negative u. An
/// infinite x gets its limit.
inline real activated(real x, softlook::activation f) {
  const bool gelu = f == softlook::activation::gelu || f == softlook::activation::gelu_tanh;
  if ((gelu || f == softlook::activation::silu) && std::isinf(x)) return x > 0 ? x : real(0);
  switch (f) {
    case softlook::activation::relu:
      return x < 0 ? real(0) : x;
    case softlook::activation::gelu:
      return x * normal_tail(-x);
    case softlook::activation::gelu_tanh: {
      const real u = std::sqrt(2 / std::numbers::pi_v<real>) * (x + real(0.044715L) * x * x * x);
      return x / (1 + std::exp(-2 * u));
    }
    case softlook::activation::silu:
      return x / (1 + std::exp(-x));
    case softlook::activation::none:
      break;
  }
  return x;
}

/// f(X·W + b); b of size 0: none.
inline matrix linear(const matrix& X, const matrix& W, const matrix& b,
                     softlook::activation f = softlook::activation::none) {
  matrix Y = product(X, W);
  for (index i = 0; i < Y.rows(); ++i) {
    for (index j = 0; j < Y.cols(); ++j)
      Y(i, j) = activated(b.size() > 0 ? Y(i, j) + b(0, j) : Y(i, j), f);
  }
  return Y;
}

inline matrix sum(const matrix& A, const matrix& B) {
  matrix C(A.rows(), A.cols());
  for (index k = 0; k < A.size(); ++k) C.data()[k] = A.data()[k] + B.data()[k];
  return C;
}

inline real mean_of_row(const matrix& X, index i) {
  real sum = 0;
  for (index c = 0; c < X.cols(); ++c) sum += X(i, c);
  return sum / static_cast<real>(X.cols());
}

/// Σ(x − mean)²/n.
inline real variance_of_row(const matrix& X, index i) {
  const real mean = mean_of_row(X, i);
  real squares = 0;
  for (index c = 0; c < X.cols(); ++c) squares += (X(i, c) - mean) * (X(i, c) - mean);
  return squares / static_cast<real>(X.cols());
}

inline matrix layer_norm(const matrix& X, const matrix& gain, const matrix& bias, real epsilon) {
  matrix Y(X.rows(), X.cols());
  for (index i = 0; i < X.rows(); ++i) {
    const real mean = mean_of_row(X, i);
    const real deviation = std::sqrt(variance_of_row(X, i) + epsilon);
    for (index c = 0; c < X.cols(); ++c)
      Y(i, c) =
          gain(0, c) * ((X(i, c) - mean) / deviation) + (bias.size() > 0 ? bias(0, c) : real(0));
  }
  return Y;
}

/// x/√(Σx²/n + ε): Zhang and Sennrich, 2019, Eq. (4).
inline matrix rms_norm(const matrix& X, const matrix& gain, real epsilon) {
  matrix Y(X.rows(), X.cols());
  for (index i = 0; i < X.rows(); ++i) {
    real squares = 0;
    for (index c = 0; c < X.cols(); ++c) squares += X(i, c) * X(i, c);
    const real root = std::sqrt(squares / static_cast<real>(X.cols()) + epsilon);
    for (index c = 0; c < X.cols(); ++c) Y(i, c) = gain(0, c) * (X(i, c) / root);
  }
  return Y;
}

namespace parts {

/// Masks and transforms speak of the caller's keys; those a layer appends are seen by every query
/// and their scores are left alone.
template <class Mask>
struct caller_mask {
  using policy_kind = softlook::mask_kind;
  Mask mask;
  std::int32_t extra;
  bool allows(std::int32_t i, std::int32_t j, softlook::problem size) const {
    size.keys -= extra;
    return j >= size.keys || mask.allows(i, j, size);
  }
  softlook::range key_range(softlook::range, softlook::problem size) const {
    return {0, size.keys};
  }
  softlook::coverage coverage_of(softlook::range, softlook::range, softlook::problem) const {
    return softlook::coverage::partial;
  }
};

template <class Transform>
struct caller_transform {
  using policy_kind = softlook::transform_kind;
  Transform transform;
  std::int32_t extra;
  real operator()(real s, std::int32_t i, std::int32_t j, softlook::problem size) const {
    size.keys -= extra;
    return j >= size.keys ? s : transform(s, i, j, size);
  }
};

template <class P>
auto for_caller_keys(const P& p, [[maybe_unused]] std::int32_t extra) {
  if constexpr (softlook::mask_policy<P>)
    return caller_mask<P>{p, extra};
  else if constexpr (softlook::transform_policy<P>)
    return caller_transform<P>{p, extra};
  else
    return p;
}

/// Rows of X, then the extra rows.
inline matrix with_rows(const matrix& X, const std::vector<matrix>& extra) {
  matrix all(X.rows() + static_cast<index>(extra.size()), X.cols());
  all.topRows(X.rows()) = X;
  index at = X.rows();
  for (const matrix& row : extra) all.row(at++) = row.row(0);
  return all;
}

}  // namespace parts

struct multi_head_layer_result {
  matrix output;
  std::vector<matrix> weights;  ///< of each query head
  matrix joined;                ///< the heads' outputs, before Wo
  real largest_score = 0;
};

template <class T, class... Policies>
multi_head_layer_result multi_head(const matrix& Q, const matrix& K, const matrix& V,
                                   const softlook::multi_head_parameters<T>& p,
                                   const softlook::heads& h, const Policies&... policies) {
  std::vector<matrix> extra_keys, extra_values;
  if (p.bias_k.size() > 0) {
    extra_keys.push_back(widen(p.bias_k));
    extra_values.push_back(widen(p.bias_v));
  }
  if (p.add_zero_attn) {
    extra_keys.push_back(matrix::Zero(1, p.Wk.cols()));
    extra_values.push_back(matrix::Zero(1, p.Wv.cols()));
  }
  [[maybe_unused]] const auto extra = static_cast<std::int32_t>(extra_keys.size());
  const matrix q = linear(Q, widen(p.Wq), widen(p.bq));
  const matrix k = parts::with_rows(linear(K, widen(p.Wk), widen(p.bk)), extra_keys);
  const matrix v = parts::with_rows(linear(V, widen(p.Wv), widen(p.bv)), extra_values);
  const multi_head_result heads = oracle::multi_head_attention(
      q, k, v, h.query, h.kv.value_or(h.query), parts::for_caller_keys(policies, extra)...);
  return {linear(heads.output, widen(p.Wo), widen(p.bo)), heads.weights, heads.output,
          heads.scores.maxCoeff()};
}

template <class T>
matrix feed_forward(const matrix& X, const softlook::transformer_encoder_layer_parameters<T>& p,
                    softlook::activation f) {
  matrix hidden = linear(X, widen(p.W1), widen(p.b1), f);
  if (p.W3.size() > 0) {
    const matrix gate = linear(X, widen(p.W3), widen(p.b3));
    for (index k = 0; k < hidden.size(); ++k) hidden.data()[k] *= gate.data()[k];
  }
  return linear(hidden, widen(p.W2), widen(p.b2));
}

template <class Row>
matrix layer_normed(const matrix& X, const Row& gain, const Row& bias,
                    const softlook::transformer_layer_options& o) {
  if (o.norm == softlook::norm_kind::layer)
    return layer_norm(X, widen(gain), widen(bias), static_cast<real>(o.epsilon));
  matrix Y = rms_norm(X, widen(gain), static_cast<real>(o.epsilon));
  for (index i = 0; i < Y.rows() && bias.size() > 0; ++i)
    for (index c = 0; c < Y.cols(); ++c) Y(i, c) += real(bias[c]);
  return Y;
}

/// What the self-attention of a layer is given.
template <class T>
matrix attention_input(const matrix& X, const softlook::transformer_encoder_layer_parameters<T>& p,
                       const softlook::transformer_encoder_layer_options& o) {
  if (!o.norm_first) return X;
  return layer_normed(X, p.gain1, p.bias1, o);
}

/// Post-norm: Vaswani et al., 2017, section 3.1; pre-norm: Xiong et al., 2020, Table 1.
template <class T, class... Policies>
matrix encoder_layer(const matrix& X, const softlook::transformer_encoder_layer_parameters<T>& p,
                     const softlook::transformer_encoder_layer_options& o,
                     const Policies&... policies) {
  const auto norm = [&](const matrix& of, const auto& gain, const auto& bias) {
    return layer_normed(of, gain, bias, o);
  };
  const matrix seen = attention_input(X, p, o);
  const matrix x =
      sum(X, oracle::multi_head(seen, seen, seen, p.self_attention, o.heads, policies...).output);
  if (o.norm_first) return sum(x, feed_forward(norm(x, p.gain2, p.bias2), p, o.activation));
  const matrix normed = norm(x, p.gain1, p.bias1);
  return norm(sum(normed, feed_forward(normed, p, o.activation)), p.gain2, p.bias2);
}

}  // namespace oracle
