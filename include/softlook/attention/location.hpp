#pragma once

#include "softlook/attention/attention.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup location Location-based attention and coverage
/// Scores that see positions, or what earlier steps looked at.
/// \cases tests/unit/attention/location_test.cpp
/// \{

namespace detail {

template <class M>
void check_locations(const char* where, const M& W, index features, index keys, const heads& h) {
  check_heads(where, h.query, h.kv_or_query());
  check_columns_of_heads(where, "Q.cols()", features, "heads.query", h.query);
  if (h.kv_or_query() == h.query)
    check_sizes(where, "W.rows()", W.rows(), "Q.cols()", features, "W maps a query to locations");
  else
    check_sizes(where, "W.rows()", W.rows(), "Q.cols() / heads.query * heads.kv",
                features / h.query * h.kv_or_query(),
                "W maps a query to locations, for each head of values");
  if (W.cols() < keys)
    raise_sizes(where, "W.cols()", W.cols(), "V.rows()", keys,
                "W has a column for each location that a key may have");
}

}  // namespace detail

/// Location-based attention: weights from the query alone,
///   a_i = softmax(q_i W),  o_i = Σ_j a_ij v_j.
///
/// \see Luong et al., "Effective Approaches to Attention-based Neural Machine Translation", 2015,
///      Eq. (8), location. The columns of W are keys of the locations, so this is attention() with
///      K = Wᵀ and dot scores, never an n×m matrix.
/// Q: n×d, W: d×M, V: m×e -> n×e. Longer weight rows than a memory are cut: its m rows take the
/// first m ≤ M columns. With heads{…} W has d rows for each head of values, which its query heads
/// share: Q: n×(query·d), W: (kv·d)×M, V: m×(kv·e) -> n×(query·e).
/// \param policies  transforms, a mask, heads, an executor, options as in attention().
/// \throws shape_error  unless W.rows() == Q.cols() and W.cols() ≥ V.rows().
/// Cost: as attention().
template <dense_expression Q, dense_expression M, dense_expression V, class... Ps>
[[nodiscard]] auto location_attention(const Q& q, const M& W, const V& v, const Ps&... policies) {
  if constexpr (detail::check_types<Q, M, V, Ps...>()) {
    detail::check_locations("location_attention", W, q.cols(), v.rows(),
                            detail::heads_of(policies...));
    return attention(q, W.matrix().leftCols(v.rows()).transpose(), v, scores::dot{}, policies...);
  }
}

/// The n×m weights of location_attention() over m keys; with heads{…} a vector of matrices, one for
/// each query head.
template <dense_expression Q, dense_expression M, class... Ps>
[[nodiscard]] auto location_attention_weights(const Q& q, const M& W, index keys,
                                              const Ps&... policies) {
  if constexpr (detail::check_types<Q, M, M, Ps...>()) {
    detail::check_locations("location_attention_weights", W, q.cols(), keys,
                            detail::heads_of(policies...));
    return attention_weights(q, W.matrix().leftCols(keys).transpose(), scores::dot{}, policies...);
  }
}

/// \}

SOFTLOOK_NAMESPACE_END
