#pragma once

#include "softlook/attention/decomposable.hpp"
#include "softlook/gradient/attention.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What soft_align_backward() returns: gradients of the sentences where they are mixed, and of
/// their projections. Through the network f, dA gets what f gives back of dFA, and dB of dFB.
template <class MatrixA, class MatrixB>
struct alignment_gradients {
  MatrixA dA;
  MatrixB dB;
  MatrixA dFA;
  MatrixB dFB;
};

namespace detail {

/// The way back of O = attention(Q, K, V, scores::dot{}, policies…), which is computed again.
template <class Q, class K, class V, class G, class... Ps>
[[nodiscard]] auto dot_attention_again(const Q& q, const K& k, const V& v, const G& dO,
                                       const Ps&... policies) {
  const auto made = attention_with_log_sum_exp(q, k, v, scores::dot{}, policies...);
  return attention_backward(q, k, v, made.output, made.log_sum_exp, dO, scores::dot{}, policies...);
}

}  // namespace detail

/// The way back through soft_align(): two attentions of one score matrix, each tile by tile.
/// dbeta: n×d', dalpha: m×d, the gradients of what was found.
/// \throws shape_error, argument_error  as soft_align(), and unless the gradients fit.
/// Cost: that of attention_backward() in each direction.
template <dense_expression A, dense_expression B, dense_expression FA, dense_expression FB,
          dense_expression GB, dense_expression GA, class... Ps>
[[nodiscard]] auto soft_align_backward(const A& a, const B& b, const FA& fa, const FB& fb,
                                       const GB& dbeta, const GA& dalpha,
                                       const sentence_lengths& lengths = {},
                                       const Ps&... policies) {
  using matrix_a = plain_matrix_like<A>;
  using matrix_b = plain_matrix_like<B>;
  alignment_gradients<matrix_a, matrix_b> g;
  if constexpr (detail::check_alignment_policies<Ps...>()) {
    detail::check_alignment(a, b, fa, fb, lengths);
    const masks::padding real_a{lengths.a.value_or(a.rows())};
    const masks::padding real_b{lengths.b.value_or(b.rows())};
    const auto of_beta = detail::dot_attention_again(fa, fb, b, dbeta, real_b, policies...);
    const auto of_alpha = detail::dot_attention_again(fb, fa, a, dalpha, real_a, policies...);
    g.dB = of_beta.dV;
    g.dA = of_alpha.dV;
    g.dFA = of_beta.dQ + of_alpha.dK;
    g.dFB = of_beta.dK + of_alpha.dQ;
  }
  return g;
}

/// \}

SOFTLOOK_NAMESPACE_END
