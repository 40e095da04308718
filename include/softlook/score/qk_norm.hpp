#pragma once

#include <type_traits>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/score/recipe.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace scores {

/// \addtogroup multiplicative
/// \{

/// What a row is divided by: the root of the mean of its squares, or its Euclidean norm.
enum class row_norm { rms, l2 };

struct qk_norm_options {
  row_norm norm = row_norm::rms;
  double epsilon = 1e-6;  ///< added under the root
};

namespace detail {
struct vector_of_gains {
  template <class V>
  static constexpr void check() {
    static_assert(V::IsVectorAtCompileTime,
                  "softlook: a gain is a vector, one entry for each feature of a head");
  }
};
}  // namespace detail

/// Dot products of normalised queries and keys, each feature with a gain:
///   s = (g_q ∘ q / r(q)) · (g_k ∘ k / r(k)),
///   r(x) = √(Σ_c x_c² / d + ε)  (row_norm::rms),   r(x) = √(Σ_c x_c² + ε)  (row_norm::l2)
/// d is the number of features of a head. Scores are scaled by 1/√d with rms and by 1 with l2,
/// where options::scale is the learned g of Henry et al.
///
/// \see Henry et al., "Query-Key Normalization for Transformers", 2020, Eq. (3) (l2); Zhang and
///      Sennrich, "Root Mean Square Layer Normalization", 2019, Eq. (4); Yang et al., "Qwen3
///      Technical Report", 2025, section 2 (rms, a gain of head size for all heads).
/// gain_q, gain_k: vectors of d entries, the same for all heads; for layers that normalise before
/// they turn queries and keys by RoPE, normalise before the call. Views; keep them alive. Without
/// gains and ε, l2 is scores::cosine. A row of zeros stays one.
/// \throws shape_error     (the call) unless each gain has an entry for each feature of a head.
/// \throws argument_error  (the call) for an ε that is negative or not finite in T.
/// Cost besides that of dot products: O((n + m)·d) time and memory.
template <class T>
struct qk_norm {
  using policy_kind = score_kind;
  static constexpr bool is_additive = false;
  using scalar = T;
  using gain = softlook::detail::kept_view<T, detail::vector_of_gains>;

  qk_norm(gain gain_q, gain gain_k, const qk_norm_options& options = {})
      : gain_q_(softlook::detail::as_row(gain_q)),
        gain_k_(softlook::detail::as_row(gain_k)),
        options_(options) {}

  template <real_scalar Scalar>
  [[nodiscard]] softlook::detail::score_recipe<Scalar> recipe(const char* where,
                                                              index query_features,
                                                              index key_features) const {
    static_assert(std::is_same_v<Scalar, T>,
                  "softlook: Q, K, V and the matrices of a policy must share one scalar type");
    using namespace softlook::detail;
    check_sizes(where, "scores::qk_norm gain_q.size()", gain_q_.cols, "Q.cols()", query_features,
                "a gain has an entry for each feature of a head");
    check_sizes(where, "scores::qk_norm gain_k.size()", gain_k_.cols, "K.cols()", key_features,
                "a gain has an entry for each feature of a head");
    check_parameter<T>(where, "scores::qk_norm epsilon", options_.epsilon, parameter::not_negative,
                       "it is finite and not negative");
    const bool mean = options_.norm == row_norm::rms;
    return {
        .scale_by_root = mean,
        .norm = row_norms<T>{
            .mean = mean, .epsilon = options_.epsilon, .query_gain = gain_q_, .key_gain = gain_k_}};
  }

 private:
  matrix_view<T> gain_q_;
  matrix_view<T> gain_k_;
  qk_norm_options options_;
};

template <class A, class B>
qk_norm(A&&, B&&) -> qk_norm<softlook::detail::scalar_of<A>>;
template <class A, class B>
qk_norm(A&&, B&&, const qk_norm_options&) -> qk_norm<softlook::detail::scalar_of<A>>;

/// \}

}  // namespace scores
SOFTLOOK_NAMESPACE_END
