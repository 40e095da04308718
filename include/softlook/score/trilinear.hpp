#pragma once

#include <type_traits>
#include <utility>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/score/recipe.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace scores {

/// \addtogroup multiplicative
/// \{

namespace detail {
struct trilinear_vector {
  template <class V>
  static constexpr void check() {
    static_assert(V::IsVectorAtCompileTime, "softlook: w of a trilinear score is a vector");
  }
};
}  // namespace detail

/// Linear scores of joined features:
///   s = w · [q; k; q ∘ k]  or  s = w · [q; k]
///
/// \see Seo et al., "Bidirectional Attention Flow for Machine Comprehension", 2017, Eq. (1), where
///      q is a word of the context and k one of the query. AllenNLP's LinearAttention with the
///      combination "x,y,x*y", or "x,y".
/// w: a vector of 3·d entries, or of 2·d to leave the products out; q and k have d features each.
/// A view of w; keep it alive. A constant that is added is transforms::bias of a 1×1 matrix, an
/// activation transforms::map(f) after it.
/// Q and K are extended before the loop so that the score is a dot product of d + 1 features,
///   [q ∘ w_qk + w_k, w_q·q] · [k, 1];
/// everything that runs on dot products runs on this score. Cost besides theirs: O((n + m)·d) time
/// and memory.
template <class T>
struct trilinear {
  using policy_kind = score_kind;
  static constexpr bool is_additive = false;
  using scalar = T;

  explicit trilinear(softlook::detail::kept_view<T, detail::trilinear_vector> w)
      : w_(softlook::detail::as_row(w)) {}

  /// \throws shape_error  unless w has three, or two, entries for each feature.
  template <real_scalar Scalar>
  [[nodiscard]] softlook::detail::score_recipe<Scalar> recipe(const char* where,
                                                              index query_features,
                                                              index key_features) const {
    static_assert(std::is_same_v<Scalar, T>,
                  "softlook: Q, K, V and the matrices of a policy must share one scalar type");
    using softlook::detail::check_sizes;
    const index d = query_features;
    check_sizes(where, "K.cols()", key_features, "Q.cols()", d,
                "queries and keys share one feature size");
    const bool products = w_.cols != 2 * d;
    if (products)
      check_sizes(where, "scores::trilinear w.size()", w_.cols, "3 · Q.cols()", 3 * d,
                  "w has an entry for each feature of [q; k; q ∘ k], or of [q; k]");
    softlook::detail::trilinear_weights<T> w{w_.columns(0, d), w_.columns(d, d), {}};
    if (products) w.qk = w_.columns(2 * d, d);
    return {.trilinear = w};
  }

 private:
  matrix_view<T> w_;
};

template <class V>
trilinear(V&&) -> trilinear<softlook::detail::scalar_of<V>>;

/// \}

}  // namespace scores
SOFTLOOK_NAMESPACE_END
