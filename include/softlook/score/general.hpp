#pragma once

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/score/recipe.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace scores {

/// \addtogroup multiplicative
/// \{

/// Bilinear scores:
///   s = q W kᵀ
/// W: d_q×d_k. A view of W; keep it alive.
/// \see Luong et al., 2015, Eq. (8), general.
template <class T>
struct general {
  using policy_kind = score_kind;
  static constexpr bool is_additive = false;
  using scalar = T;

  explicit general(softlook::detail::kept_view<T> W) : W_(W) {}

  template <real_scalar Scalar>
  [[nodiscard]] softlook::detail::score_recipe<Scalar> recipe(const char* where,
                                                              index query_features,
                                                              index key_features) const {
    static_assert(std::is_same_v<Scalar, T>,
                  "softlook: Q, K, V and the matrices of a policy must share one scalar type");
    using softlook::detail::check_sizes;
    check_sizes(where, "scores::general W.rows()", W_.rows, "Q.cols()", query_features,
                "W maps a query to the features of a key");
    check_sizes(where, "scores::general W.cols()", W_.cols, "K.cols()", key_features,
                "W maps a query to the features of a key");
    return {.project_queries = W_};
  }

  [[nodiscard]] index query_features() const { return W_.rows; }
  [[nodiscard]] index key_features() const { return W_.cols; }

 private:
  matrix_view<T> W_;
};

template <class M>
general(M&&) -> general<softlook::detail::scalar_of<M>>;

/// \}

}  // namespace scores
SOFTLOOK_NAMESPACE_END
