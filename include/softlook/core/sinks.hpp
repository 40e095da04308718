#pragma once

#include "softlook/core/concepts.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup core
/// \{

namespace detail {
struct vector_of_sinks {
  template <class V>
  static constexpr void check() {
    static_assert(std::is_same_v<scalar_of<V>, double>,
                  "softlook: sinks are a vector of double, one entry for each query head");
    static_assert(V::IsVectorAtCompileTime,
                  "softlook: sinks are a vector, one entry for each query head");
  }
};
}  // namespace detail

/// A learned logit s for each query head that joins the softmax without a value, so that a head may
/// attend to nothing:
///   P_ij = exp(S_ij) / (exp(s) + Σ_k exp(S_ik)),   L_i = log(exp(s) + Σ_k exp(S_ik))
/// L is the log-sum-exp of a row, S what its scores are after transforms and mask: neither scale
/// nor transforms touch s. A query without a key keeps its row of zeros and gets L = s.
///
///     attention(Q, K, V, heads{.query = 8}, sinks(s))
///
/// \see Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2024, section 3.3
///      (SoftMax-off-by-one is s = 0); OpenAI, "gpt-oss model card", 2025, section 2.2. First
///      tokens that every query sees are a mask, `window_of(W) | padding{4}`.
/// A view of a vector of double; an entry of −∞ is no sink. Parts of one softmax that are merged
/// want it once: give it to one of them.
/// \throws shape_error     (the call) unless there is an entry for each query head.
/// \throws argument_error  (the call) for NaN, +∞, or what the scalar of the call cannot hold.
class sinks {
 public:
  explicit sinks(detail::kept_view<double, detail::vector_of_sinks> logits)
      : logits_(detail::as_row(logits)) {}

  /// One row.
  [[nodiscard]] const matrix_view<double>& logits() const { return logits_; }

 private:
  matrix_view<double> logits_;
};

/// \}

SOFTLOOK_NAMESPACE_END
