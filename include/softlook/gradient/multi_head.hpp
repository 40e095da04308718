#pragma once

#include "softlook/gradient/detail/attention_part.hpp"
#include "softlook/gradient/linear.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What multi_head_forward() keeps: its inputs, projected queries, keys and values, the output of
/// all heads and n·query numbers of log-sum-exp; for the way back as much again. Nothing is n×m.
template <class T>
struct saved_multi_head {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix Q{}, K{}, V{};  ///< of self-attention Q alone
  bool self = false;
  detail::kept_attention<T> heads{};
  matrix Y{};               ///< n×outputs
  matrix dY{};              ///< as it was given
  matrix dQ{}, dK{}, dV{};  ///< written by multi_head_backward(); of self-attention dQ alone

  [[nodiscard]] std::size_t bytes() const {
    std::size_t all = heads.bytes();
    for (const matrix* m : {&Q, &K, &V, &Y, &dY, &dQ, &dK, &dV}) all += detail::bytes_of(*m);
    return all;
  }
};

namespace detail {

template <class T>
[[nodiscard]] attention_rows<matrix_view<T>> inputs_of(const saved_multi_head<T>& saved) {
  const auto Q = view_of(saved.Q);
  return saved.self ? attention_rows<matrix_view<T>>{Q, Q, Q}
                    : attention_rows<matrix_view<T>>{Q, view_of(saved.K), view_of(saved.V)};
}

/// `in` is checked before it is kept by keep().
template <class T, class Keep, class... Ps>
const auto& multi_head_ahead(const multi_head_parameters<T>& p, const heads& h,
                             const attention_rows<matrix_view<T>>& in, saved_multi_head<T>& saved,
                             const Keep& keep, const Ps&... policies) {
  static_assert(multi_head_policies::check<T, Ps...>());
  const char* where = "multi_head_forward";
  const inner_attention_of<T, Ps...> inner(where, policies...);
  check_attention_part<T>(where, p, h, in, inner);
  const layer_call call = layer_call_of(where, policies...);
  matrix_products<T> products(call);
  keep();
  shape_as(saved.Y, in.Q.rows, p.Wo.cols());
  attend_rows<T>(products, p, h, inputs_of(saved), inner, saved.heads, writable_view(saved.Y));
  return saved.Y;
}

}  // namespace detail

/// Multi-head attention of queries, keys and values -> saved.Y: n×outputs.
/// \see multi_head, which computes the same
/// \param policies  those of multi_head: transforms, a mask, sinks, dropout, a frame, segments or a
///        padded batch (without keys of the layer's own), an executor, options.
/// \throws shape_error, argument_error  unless weights, heads, inputs and policies fit; nothing has
///         been written then.
template <class T, dense_expression Q, dense_expression K, dense_expression V, class... Ps>
const auto& multi_head_forward(const multi_head_parameters<T>& p, const heads& h, const Q& q,
                               const K& k, const V& v, saved_multi_head<T>& saved,
                               const Ps&... policies) {
  const detail::readable<Q> queries(q);
  const detail::readable<K> keys(k);
  const detail::readable<V> values(v);
  return detail::multi_head_ahead<T>(
      p, h, {queries.view(), keys.view(), values.view()}, saved,
      [&] {
        saved.self = false;
        saved.Q = q;
        saved.K = k;
        saved.V = v;
      },
      policies...);
}
/// Self-attention: queries, keys and values are X.
template <class T, dense_expression X, class... Ps>
const auto& multi_head_forward(const multi_head_parameters<T>& p, const heads& h, const X& x,
                               saved_multi_head<T>& saved, const Ps&... policies) {
  const detail::readable<X> in(x);
  return detail::multi_head_ahead<T>(
      p, h, {in.view(), in.view(), in.view()}, saved,
      [&] {
        saved.self = true;
        saved.Q = x;
        saved.K.resize(0, 0);
        saved.V.resize(0, 0);
      },
      policies...);
}

/// saved.dQ, saved.dK and saved.dV, the first of which it returns: of self-attention it is all of
/// dX, and the others are empty.
/// \throws shape_error  unless dY has the output's shape and gradients that of the weights.
template <class T, dense_expression G, class... Ps>
const auto& multi_head_backward(const multi_head_parameters<T>& p, const heads& h,
                                saved_multi_head<T>& saved, const G& dY,
                                multi_head_parameters<T>& gradients, const Ps&... policies) {
  static_assert(detail::multi_head_policies::check<T, Ps...>());
  const char* where = "multi_head_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dY, saved.Y);
  const detail::inner_attention_of<T, Ps...> inner(where, policies...);
  const auto in = detail::inputs_of(saved);
  detail::check_attention_part<T>(where, p, h, in, inner);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  saved.dY = dY;
  saved.dQ.setZero(saved.Q.rows(), saved.Q.cols());
  saved.dK.setZero(saved.K.rows(), saved.K.cols());
  saved.dV.setZero(saved.V.rows(), saved.V.cols());
  const auto dQ = detail::writable_view(saved.dQ);
  detail::attend_rows_back<T>(products, p, h, in, inner, saved.heads, detail::view_of(saved.dY),
                              gradients,
                              {dQ, saved.self ? dQ : detail::writable_view(saved.dK),
                               saved.self ? dQ : detail::writable_view(saved.dV)});
  return saved.dQ;
}

/// \}

SOFTLOOK_NAMESPACE_END
