#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "softlook/attention/attention.hpp"
#include "softlook/attention/detail/entmax_call.hpp"
#include "softlook/attention/detail/entmax_row.hpp"

SOFTLOOK_NAMESPACE_BEGIN

namespace detail {

inline void check_alpha(const char* where, double alpha) {
  if (!(alpha >= 1) || !std::isfinite(alpha))
    raise_argument(where, "alpha", alpha, "α is 1 (softmax) or more, and finite; 2 is sparsemax");
}

template <class Q, class K, class V, class O, class... Ps>
void attend_entmax(const char* where, const Q& q, const K& k, const V& v, O& o, double alpha,
                   const Ps&... policies) {
  check_alpha(where, alpha);
  auto bound = bind(where, q, k, v, policies...);
  if (alpha == 1) return bound.run(o);
  bound.call().O = writable_view(o);
  check_output(bound.call());
  run_entmax<decltype(bound)::is_additive>(bound.call(), alpha);
}

}  // namespace detail

/// \defgroup entmax Sparse softmax
/// Weights that are exactly 0: sparsemax, 1.5-entmax, α-entmax.
/// \cases tests/conformance/data/other/sparse_softmax
/// \{

/// α-entmax of every row z of a matrix of scores: the distribution p that maximises p·z + H_α(p),
/// with Tsallis' entropy H_α; that is
///   p_j = [(α − 1) z_j − τ]₊^{1/(α−1)},  τ such that Σ p_j = 1.
/// α = 1 is softmax, 2 is sparsemax; the larger α, the more weights are exactly 0.
///
/// \see Peters, Niculae & Martins, "Sparse Sequence-to-Sequence Models", 2019, section 3. The
///      threshold is found in double to its rounding, by Newton's method (α ≤ 2) or by bisection
///      (their algorithm 1).
/// S: n×m -> n×m in S's storage order. A row of −∞ becomes zeros; −∞ elsewhere has weight 0. NaN or
/// +∞ makes its row NaN.
/// \throws argument_error  unless α ≥ 1 and finite.
/// Cost: two passes over a row, then a few over the keys less than 1/(α − 1) below its largest; for
/// α other than 1.5 and 2 these take a logarithm and an exponential of each.
template <dense_expression X>
[[nodiscard]] plain_matrix_like<X> entmax(const X& scores, double alpha) {
  using T = detail::scalar_of<X>;
  static_assert(real_scalar<T>, "softlook: entmax takes float or double");
  detail::check_alpha("entmax", alpha);
  const detail::row_major<T> S = scores.matrix();
  plain_matrix_like<X> P = plain_matrix_like<X>::Zero(S.rows(), S.cols());
  if (alpha == 1) {
    detail::row_major<T> weights = S;
    Eigen::Matrix<T, Eigen::Dynamic, 1> log_sum_exp(S.rows());
    detail::softmax_rows(weights, log_sum_exp);
    P = weights;
    return P;
  }
  std::vector<detail::later<X, std::int32_t>> keys(std::size_t(S.cols()));
  std::vector<detail::later<X, double>> weights(std::size_t(S.cols()));
  detail::entmax_support p;
  p.keys = keys.data();
  p.weights = weights.data();
  detail::check_positions("entmax", "S.cols()", S.cols());
  for (index i = 0; i < S.rows() && S.cols() > 0; ++i) {
    detail::entmax_row(S.data() + i * S.cols(), S.cols(), 0, alpha, p);
    if (p.nan) P.row(i).setConstant(std::numeric_limits<T>::quiet_NaN());
    for (index k = 0; k < p.count; ++k) P(i, p.keys[k]) = static_cast<T>(p.weights[k]);
  }
  return P;
}

/// Sparsemax of every row: the Euclidean projection onto the simplex,  p_j = [z_j − τ]₊.
/// \see Martins & Astudillo, "From Softmax to Sparsemax", 2016, Eq. (2) and Proposition 1.
template <dense_expression X>
[[nodiscard]] plain_matrix_like<X> sparsemax(const X& scores) {
  return entmax(scores, 2);
}

/// Attention with sparse weights:  O = α-entmax(scale · Q Kᵀ restricted to mask) V.
///
/// \see Peters et al., 2019, section 3, with α = 1.5 their 1.5-entmax; Martins & Astudillo, 2016
///      (α = 2, sparsemax); Correia et al., "Adaptively Sparse Transformers", 2019.
/// Shapes, policies and storage orders as in attention(), with heads{…} and frame{…}; α = 1 is
/// attention(). A query that may attend to no key gets a row of zeros. A key without weight touches
/// nothing, whatever its value holds. NaN or +∞ among the live scores of a query makes its row NaN.
/// \param policies  a score, transforms, a mask, an executor, options; its kernel and tile only
///                  count where α = 1.
/// \throws argument_error  unless α ≥ 1 and finite; otherwise as attention().
/// Cost: O(n·m·d + k·e) time for k weights that are not zero, the scores by the tiled kernel. They
/// are stored for 16 to 96 queries at a time, at most 1 MiB or 16 rows for each worker. Results do
/// not depend on the executor.
template <dense_expression Q, dense_expression K, dense_expression V, class... Ps>
[[nodiscard]] auto entmax_attention(const Q& q, const K& k, const V& v, double alpha,
                                    const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_one_sequence<Ps...>()) {
    plain_matrix_like<Q> o(q.rows(), detail::output_columns(v.cols(), policies...));
    detail::attend_entmax("entmax_attention", q, k, v, o, alpha, policies...);
    return o;
  }
}

/// entmax_attention() into the caller's n×e matrix, block or map, which is never resized.
/// \throws argument_error  if O overlaps an input; nothing has been written then.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression O,
          class... Ps>
void entmax_attention_into(const Q& q, const K& k, const V& v, O&& o, double alpha,
                           const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_scalars<Q, O>() &&
                detail::check_one_sequence<Ps...>()) {
    detail::attend_entmax("entmax_attention_into", q, k, v, o, alpha, policies...);
  }
}

/// α-entmax(scale · Q Kᵀ restricted to mask): the n×m weights, whose rows sum to 1 or, without a
/// key, are zero; with heads{…} a vector of matrices, one for each query head. Cost: O(n·m) memory.
template <dense_expression Q, dense_expression K, class... Ps>
[[nodiscard]] auto entmax_attention_weights(const Q& q, const K& k, double alpha,
                                            const Ps&... policies) {
  if constexpr (detail::check_types<Q, K, K, Ps...>() && detail::check_one_sequence<Ps...>()) {
    using T = detail::scalar_of<Q>;
    const char* where = "entmax_attention_weights";
    detail::check_alpha(where, alpha);
    auto bound = detail::bind(where, q, k, detail::no_values{}, policies...);
    constexpr bool additive = decltype(bound)::is_additive;
    return detail::of_heads<plain_matrix_like<Q>, T, Ps...>(
        alpha == 1 ? bound.weights() : detail::run_entmax_weights<additive>(bound.call(), alpha));
  }
}

/// \}

SOFTLOOK_NAMESPACE_END
