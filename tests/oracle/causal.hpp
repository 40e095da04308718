// A causal Transformer by its definition, on the parameters the library is given.
#pragma once

#include "softlook/transformer/causal.hpp"
#include "tests/oracle/layers.hpp"

namespace oracle {

/// Angles of one position for each pair of features of a head, and which features are a pair.
struct turning {
  std::vector<real> frequencies;
  bool interleaved = false;
};

/// Su et al., 2021, Eq. (34): row i stands at position first + i.
inline matrix turned(const matrix& X, index heads, const turning& by, index first = 0) {
  matrix Y = X;
  const index width = X.cols() / heads, pairs = static_cast<index>(by.frequencies.size());
  for (index i = 0; i < X.rows(); ++i)
    for (index h = 0; h < heads; ++h)
      for (index k = 0; k < pairs; ++k) {
        const real angle = real(first + i) * by.frequencies[static_cast<std::size_t>(k)];
        const index a = h * width + (by.interleaved ? 2 * k : k);
        const index b = by.interleaved ? a + 1 : a + pairs;
        Y(i, a) = X(i, a) * std::cos(angle) - X(i, b) * std::sin(angle);
        Y(i, b) = X(i, b) * std::cos(angle) + X(i, a) * std::sin(angle);
      }
  return Y;
}

struct causal_layer_result {
  matrix output;
  std::vector<matrix> weights;  ///< of each query head
};

/// Pre-norm.
template <class T, class... Policies>
causal_layer_result causal_layer(const matrix& X,
                                 const softlook::transformer_encoder_layer_parameters<T>& p,
                                 const softlook::transformer_layer_options& o, const turning& by,
                                 const Policies&... policies) {
  const auto& a = p.self_attention;
  const index kv = o.heads.kv_or_query();
  const matrix seen = layer_normed(X, p.gain1, p.bias1, o);
  const matrix q = turned(linear(seen, widen(a.Wq), widen(a.bq)), o.heads.query, by);
  const matrix k = turned(linear(seen, widen(a.Wk), widen(a.bk)), kv, by);
  const matrix v = linear(seen, widen(a.Wv), widen(a.bv));
  const multi_head_result heads =
      oracle::multi_head_attention(q, k, v, o.heads.query, kv, policies...);
  const matrix x = sum(X, linear(heads.output, widen(a.Wo), widen(a.bo)));
  const matrix fed = feed_forward(layer_normed(x, p.gain2, p.bias2, o), p, o.activation);
  return {sum(x, fed), heads.weights};
}

}  // namespace oracle
