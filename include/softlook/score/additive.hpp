#pragma once

#include <optional>

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"
#include "softlook/score/recipe.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace scores {

/// \defgroup additive Additive attention (Bahdanau)
/// A small network scores a query and a key: what their sum says, not how well they agree.
/// \cases tests/conformance/data/luong_bahdanau
/// \program examples/additive_vs_multiplicative.cpp
/// \{

namespace detail {

struct hidden_vector {
  template <class X>
  static constexpr void check() {
    static_assert(X::IsVectorAtCompileTime, "softlook: v and b of an additive score are vectors");
  }
};

template <class T>
using kept_matrix = softlook::detail::kept_view<T>;
template <class T>
using kept_vector = softlook::detail::kept_view<T, hidden_vector>;

template <class Scalar, class T>
constexpr void same_scalar() {
  static_assert(std::is_same_v<Scalar, T>,
                "softlook: Q, K, V and the matrices of a policy must share one scalar type");
}

}  // namespace detail

/// Additive scores of inputs that are already projected, all of length a:
///   s = v · tanh(q + k)
/// Keras' AdditiveAttention, and the inner loop of Bahdanau's. A view of v.
template <class T>
struct additive_projected {
  using policy_kind = score_kind;
  static constexpr bool is_additive = true;
  static constexpr bool projects = false;
  using scalar = T;

  explicit additive_projected(detail::kept_vector<T> v) : v_(softlook::detail::as_row(v)) {}

  template <real_scalar Scalar>
  [[nodiscard]] softlook::detail::score_recipe<Scalar> recipe(const char* where,
                                                              index query_features,
                                                              index key_features) const {
    detail::same_scalar<Scalar, T>();
    using softlook::detail::check_sizes;
    check_sizes(where, "scores::additive_projected v.size()", v_.cols, "Q.cols()", query_features,
                "projected queries, projected keys and v share one size");
    check_sizes(where, "K.cols()", key_features, "Q.cols()", query_features,
                "projected queries, projected keys and v share one size");
    return {.additive = true, .v = v_};
  }

  [[nodiscard]] index query_features() const { return v_.cols; }
  [[nodiscard]] index key_features() const { return v_.cols; }

 private:
  matrix_view<T> v_;
};

template <class V>
additive_projected(V&&) -> additive_projected<softlook::detail::scalar_of<V>>;

/// Additive (Bahdanau) scores:
///   s = v · tanh(q W_q + k W_k + b)
/// W_q: d_q×a, W_k: d_k×a, v, b: a; b may be left out. Views of all of them.
/// \see Bahdanau et al., "Neural Machine Translation by Jointly Learning to Align and Translate",
///      2015, appendix A.1.2:  e_ij = v_aᵀ tanh(W_a s_{i−1} + U_a h_j).
template <class T>
struct additive {
  using policy_kind = score_kind;
  static constexpr bool is_additive = true;
  using scalar = T;

  additive(detail::kept_matrix<T> Wq, detail::kept_matrix<T> Wk, detail::kept_vector<T> v)
      : Wq_(Wq), Wk_(Wk), v_(softlook::detail::as_row(v)) {}
  additive(detail::kept_matrix<T> Wq, detail::kept_matrix<T> Wk, detail::kept_vector<T> v,
           detail::kept_vector<T> b)
      : Wq_(Wq), Wk_(Wk), v_(softlook::detail::as_row(v)), b_(softlook::detail::as_row(b)) {}

  template <real_scalar Scalar>
  [[nodiscard]] softlook::detail::score_recipe<Scalar> recipe(const char* where,
                                                              index query_features,
                                                              index key_features) const {
    detail::same_scalar<Scalar, T>();
    using softlook::detail::check_sizes;
    check_sizes(where, "scores::additive Wq.rows()", Wq_.rows, "Q.cols()", query_features,
                "Wq maps a query to a hidden features");
    check_sizes(where, "scores::additive Wk.rows()", Wk_.rows, "K.cols()", key_features,
                "Wk maps a key to a hidden features");
    check_sizes(where, "scores::additive Wk.cols()", Wk_.cols, "Wq.cols()", Wq_.cols,
                "queries and keys are projected to one hidden size");
    check_sizes(where, "scores::additive v.size()", v_.cols, "Wq.cols()", Wq_.cols,
                "v has an entry for each hidden feature");
    if (b_)
      check_sizes(where, "scores::additive b.size()", b_->cols, "Wq.cols()", Wq_.cols,
                  "b has an entry for each hidden feature");
    return {
        .additive = true, .project_queries = Wq_, .project_keys = Wk_, .query_bias = b_, .v = v_};
  }

  [[nodiscard]] index query_features() const { return Wq_.rows; }
  [[nodiscard]] index key_features() const { return Wk_.rows; }

 private:
  matrix_view<T> Wq_;
  matrix_view<T> Wk_;
  matrix_view<T> v_;
  std::optional<matrix_view<T>> b_{};
};

template <class A, class B, class V>
additive(A&&, B&&, V&&) -> additive<softlook::detail::scalar_of<A>>;
template <class A, class B, class V, class C>
additive(A&&, B&&, V&&, C&&) -> additive<softlook::detail::scalar_of<A>>;

/// Luong's concat scores, which are additive ones with W cut in two:
///   s = v · tanh([q k] W)
/// W: (d_q + d_k)×a.
/// \see Luong et al., 2015, Eq. (8), concat.
template <class T>
struct concat {
  using policy_kind = score_kind;
  static constexpr bool is_additive = true;
  using scalar = T;

  concat(detail::kept_matrix<T> W, detail::kept_vector<T> v)
      : W_(W), v_(softlook::detail::as_row(v)) {}

  template <real_scalar Scalar>
  [[nodiscard]] softlook::detail::score_recipe<Scalar> recipe(const char* where,
                                                              index query_features,
                                                              index key_features) const {
    detail::same_scalar<Scalar, T>();
    using softlook::detail::check_sizes;
    check_sizes(where, "scores::concat W.rows()", W_.rows, "Q.cols() + K.cols()",
                query_features + key_features, "W maps a query beside a key");
    check_sizes(where, "scores::concat v.size()", v_.cols, "W.cols()", W_.cols,
                "v has an entry for each hidden feature");
    return {.additive = true,
            .project_queries = W_.rows_from(0, query_features),
            .project_keys = W_.rows_from(query_features, key_features),
            .v = v_};
  }

  /// Of a query and a key together.
  [[nodiscard]] index joint_features() const { return W_.rows; }

 private:
  matrix_view<T> W_;
  matrix_view<T> v_;
};

template <class M, class V>
concat(M&&, V&&) -> concat<softlook::detail::scalar_of<M>>;

/// \}

}  // namespace scores
SOFTLOOK_NAMESPACE_END
