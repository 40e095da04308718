#pragma once

#include <cmath>

#include "softlook/attention/entmax.hpp"
#include "softlook/gradient/attention.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

namespace detail {

/// dS of one row, in place of its dP: s = P^{2−α} where P is not 0,
///   dS = s ∘ (dP − Σ s∘dP / Σ s)
/// Where P is 0 nothing is read, and dS is 0. P of NaN makes the row NaN.
template <class T>
void entmax_row_back(const T* P, T* d, index count, double alpha) {
  double along = 0, sum = 0;
  const auto slope_of = [&](T p) {
    return alpha == 2 ? 1.0 : alpha == 1 ? double(p) : std::pow(double(p), 2 - alpha);
  };
  for (index j = 0; j < count; ++j)
    if (P[j] != T(0)) {
      const double s = slope_of(P[j]) + (P[j] - P[j]);  // NaN stays
      along += s * double(d[j]);
      sum += s;
    }
  for (index j = 0; j < count; ++j)
    d[j] = P[j] != T(0) ? T(slope_of(P[j]) * (double(d[j]) - along / sum)) : T(0);
}

template <class T>
struct entmax_results {
  matrix_view<T> dO;
  mutable_matrix_view<T> dQ, dK, dV;  // dK and dV begin as zeros
};

/// One query of a head: of keys without weight nothing is read.
template <class T>
void entmax_query_back(const attention_call<T>& c, double alpha, index head, index i, const T* P,
                       T* dS, const entmax_results<T>& to) {
  const index d = c.query_features(), e = c.values(), of = head / c.group();
  const matrix_view<T> K = c.K.columns(of * d, d), V = c.V.columns(of * e, e);
  const matrix_view<T> Q = c.Q.columns(head * d, d), dO = to.dO.columns(head * e, e);
  const auto dQ = to.dQ.columns(head * d, d), dK = to.dK.columns(of * d, d);
  const auto dV = to.dV.columns(of * e, e);
  const T scale = T(c.scale());
  for (index j = 0; j < K.rows; ++j) {
    if (P[j] == T(0)) continue;
    T sum = 0;
    for (index x = 0; x < e; ++x) {
      sum += dO(i, x) * V(j, x);
      dV(j, x) += P[j] * dO(i, x);
    }
    dS[j] = sum;
  }
  entmax_row_back(P, dS, K.rows, alpha);
  for (index x = 0; x < d; ++x) dQ(i, x) = 0;
  for (index j = 0; j < K.rows; ++j) {
    if (P[j] == T(0)) continue;
    for (index x = 0; x < d; ++x) {
      dQ(i, x) += scale * dS[j] * K(j, x);
      dK(j, x) += scale * dS[j] * Q(i, x);
    }
  }
}

template <class T>
void entmax_back(const attention_call<T>& c, double alpha, const std::vector<row_major<T>>& P,
                 const entmax_results<T>& to) {
  run_tasks(c.exec, c.kv_heads, [&](index of, index) {
    std::vector<T> dS(std::size_t(c.K.rows));
    for (index head = of * c.group(); head < (of + 1) * c.group(); ++head)
      for (index i = 0; i < c.Q.rows; ++i)
        entmax_query_back(c, alpha, head, i, P[std::size_t(head)].data() + i * c.K.rows, dS.data(),
                          to);
  });
}

}  // namespace detail

/// The way back through entmax(): from the weights P that it gave and dP the gradient of its
/// scores,
///   s = P^{2−α} where P is not 0, else 0;  dS = s ∘ (dP − Σ s∘dP / Σ s) of each row
/// α = 1 is softmax, 2 sparsemax. What dP holds where P is 0 reaches nothing.
///
/// \see Peters, Niculae & Martins, 2019, section 3.3 and Proposition 2.
/// P, dP: n×m -> dS: n×m in P's storage order.
/// \throws shape_error  unless dP has the shape of P; argument_error  unless α ≥ 1 and finite.
template <dense_expression X, dense_expression G>
[[nodiscard]] plain_matrix_like<X> entmax_backward(const X& P, const G& dP, double alpha) {
  using T = detail::scalar_of<X>;
  const char* where = "entmax_backward";
  detail::check_alpha(where, alpha);
  detail::check_sizes(where, "dP.rows()", dP.rows(), "P.rows()", P.rows(),
                      "a gradient has the shape of what it belongs to");
  detail::check_sizes(where, "dP.cols()", dP.cols(), "P.cols()", P.cols(),
                      "a gradient has the shape of what it belongs to");
  const detail::row_major<T> weights = P.matrix();
  detail::row_major<T> d = dP.matrix();
  for (index i = 0; i < d.rows(); ++i)
    detail::entmax_row_back(weights.data() + i * d.cols(), d.data() + i * d.cols(), d.cols(),
                            alpha);
  return d;
}

/// The gradients of entmax_attention(), given that of its output: dO, n×(heads·e). Weights are
/// computed again: O(n·m) memory for each head. A key without weight is not read.
/// \param policies  those of the call: scaled_dot or dot scores, a mask, transforms that only add,
///                  heads, an executor (which is given heads of keys), options.
/// \throws shape_error  unless dO fits; as entmax_attention() otherwise.
/// Cost: that of the weights, and O(k·(d + e)) for k weights that are not 0.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression G,
          class... Ps>
[[nodiscard]] auto entmax_attention_backward(const Q& q, const K& k, const V& v, const G& dO,
                                             double alpha, const Ps&... policies) {
  attention_gradients<plain_matrix_like<Q>> g;
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_scalars<Q, G>() &&
                detail::check_one_sequence<Ps...>()) {
    using T = detail::scalar_of<Q>;
    const char* where = "entmax_attention_backward";
    detail::check_alpha(where, alpha);
    auto bound = detail::bind(where, q, k, v, policies...);
    using stated = std::remove_cvref_t<decltype(bound.policies())>;
    using chain = std::remove_cvref_t<decltype(bound.policies().transforms())>;
    static_assert(!stated::is_additive && !stated::projects,
                  "softlook: entmax_attention_backward() takes scaled_dot or dot scores");
    static_assert(detail::only_shifts<chain>,
                  "softlook: entmax_attention_backward() takes transforms that only add");
    const auto& c = bound.call();
    const detail::readable<G> given(dO);
    detail::check_sizes(where, "dO.rows()", dO.rows(), "Q.rows()", q.rows(),
                        "a gradient for each query");
    detail::check_sizes(where, "dO.cols()", dO.cols(), "the columns of the output",
                        c.values() * c.query_heads, "a gradient for each entry of the output");
    const auto P =
        alpha == 1 ? bound.weights() : detail::run_entmax_weights<stated::is_additive>(c, alpha);
    g.dQ.resize(q.rows(), q.cols());
    g.dK.setZero(k.rows(), k.cols());
    g.dV.setZero(v.rows(), v.cols());
    detail::entmax_back<T>(c, alpha, P,
                           {given.view(), detail::writable_view(g.dQ), detail::writable_view(g.dK),
                            detail::writable_view(g.dV)});
  }
  return g;
}

/// \}

SOFTLOOK_NAMESPACE_END
