#pragma once

#include <vector>

#include "softlook/attention/monotonic.hpp"
#include "softlook/gradient/attention.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What monotonic_weights_backward() returns.
template <class Matrix>
struct monotonic_weights_gradients {
  Matrix dE;
  Matrix dprevious;  ///< 1×m
};

/// What monotonic_attention_backward() returns.
template <class Matrix>
struct monotonic_gradients {
  Matrix dQ;
  Matrix dK;
  Matrix dV;
  Matrix dprevious;  ///< a row for each query head
  double dscore_bias = 0;
};

namespace detail {

/// The way back of monotonic_recursion() for one row: `before` is the row before, and d, of the
/// row's weights, becomes that of the row before; energies become their gradients.
inline void monotonic_row_back(const double* before, index keys, double* energies, double* d,
                               double* arriving) {
  double at = 0, go = 1;
  for (index j = 0; j < keys; ++j) {
    arriving[j] = at = at * go + before[j];
    go = decision(energies[j]).go;
  }
  double behind = 0;  // dq_{j+1}
  for (index j = keys - 1; j >= 0; --j) {
    const stop_or_go p = decision(energies[j]);
    const double dalpha = d[j];
    d[j] = p.stop * dalpha + p.go * behind;
    // What cannot be chosen has no gradient, whatever the keys behind it have.
    energies[j] =
        energies[j] == log_of_nothing ? 0 : p.stop * p.go * arriving[j] * (dalpha - behind);
    behind = d[j];
  }
}

/// Energies in double, n×m row by row, and the weights before each query: what one head needs.
class monotonic_rows {
 public:
  template <class T, class P>
  monotonic_rows(const row_major<T>& E, T bias, const P& previous)
      : rows_(E.rows()), keys_(E.cols()), energies_(size(E)), weights_(size(E) + whole(keys_)) {
    for (index j = 0; j < keys_; ++j) weights_[std::size_t(j)] = double(previous[j]);
    for (index i = 0; i < rows_; ++i) {
      for (index j = 0; j < keys_; ++j) energies_[at(i, j)] = double(E(i, j) + bias);
      std::copy_n(weights_.data() + i * keys_, keys_, weights_.data() + (i + 1) * keys_);
      monotonic_recursion(energies_.data() + i * keys_, keys_, weights_.data() + (i + 1) * keys_);
    }
  }

  [[nodiscard]] double weight(index i, index j) const { return weights_[at(i + 1, j)]; }
  /// After back(): the gradient of an energy.
  [[nodiscard]] double gradient(index i, index j) const { return energies_[at(i, j)]; }

  /// dweights(i, j) of each weight. Returns the gradient of the weights before the first query.
  template <class F>
  [[nodiscard]] std::vector<double> back(const F& dweights) {
    std::vector<double> d(whole(keys_)), arriving(whole(keys_));
    for (index i = rows_ - 1; i >= 0; --i) {
      for (index j = 0; j < keys_; ++j) d[std::size_t(j)] += dweights(i, j);
      monotonic_row_back(weights_.data() + i * keys_, keys_, energies_.data() + i * keys_, d.data(),
                         arriving.data());
    }
    return d;
  }

 private:
  template <class T>
  [[nodiscard]] static std::size_t size(const row_major<T>& E) {
    return static_cast<std::size_t>(E.size());
  }
  [[nodiscard]] static std::size_t whole(index count) { return static_cast<std::size_t>(count); }
  [[nodiscard]] std::size_t at(index i, index j) const { return std::size_t(i * keys_ + j); }

  index rows_, keys_;
  std::vector<double> energies_;
  std::vector<double> weights_;  // row 0: before the first query
};

/// Gradients of a call of one head, added up; dweights, n×m, may be empty. Returns the sum of those
/// of the energies.
template <class T, class Chain>
[[nodiscard]] double monotonic_head_back(const attention_call<T>& c, const row_major<T>& S, T bias,
                                         const Chain& chain, const row_major<T>& previous,
                                         const matrix_view<T>& dO, const matrix_view<T>& dweights,
                                         const attention_gradients<mutable_matrix_view<T>>& to,
                                         const mutable_matrix_view<T>& dprevious) {
  constexpr T nothing = -std::numeric_limits<T>::infinity();
  const index n = S.rows(), m = S.cols(), d = c.Q.cols, e = c.V.cols;
  monotonic_rows rows(S, bias, previous.row(0));
  const std::vector<double> first = rows.back([&](index i, index j) {
    if (S(i, j) == nothing) return 0.0;
    T sum = dweights.cols > 0 ? dweights(i, j) : T(0);
    for (index x = 0; x < e; ++x) sum += dO(i, x) * c.V(j, x);
    return double(sum);
  });
  for (index j = 0; j < m; ++j) dprevious(0, j) = T(first[std::size_t(j)]);
  const T scale = T(c.scale());
  const problem p = c.problem_of(0);
  double all = 0;
  for (index i = 0; i < n; ++i)
    for (index j = 0; j < m; ++j) {
      if (S(i, j) == nothing) continue;
      const T weight = T(rows.weight(i, j));
      for (index x = 0; x < e; ++x) to.dV(j, x) += weight * dO(i, x);
      const double by = rows.gradient(i, j);
      if (by == 0) continue;
      all += by;
      T s = 0;
      if constexpr (!only_shifts<Chain>)
        for (index x = 0; x < d; ++x) s += c.Q(i, x) * c.K(j, x);
      const T dS = T(by) * scale * slope_of(chain, scale * s, i, j, p);
      for (index x = 0; x < d; ++x) {
        to.dQ(i, x) += dS * c.K(j, x);
        to.dK(j, x) += dS * c.Q(i, x);
      }
    }
  return all;
}

}  // namespace detail

/// The way back through monotonic_weights() in expectation, recursive or parallel, given dW, n×m:
///   q_j = (1 − p_{j−1}) q_{j−1} + α_{i−1,j},   α_ij = p_j q_j,
///   dq_j = p_j dα_ij + (1 − p_j) dq_{j+1},   de_ij = p_j (1 − p_j) q_j (dα_ij − dq_{j+1}),
/// and dα_{i−1} += dq. A walk back over rows and keys; nothing is divided.
///
/// \see Raffel et al., "Online and Linear-Time Attention by Enforcing Monotonic Alignments", 2017,
///      Eq. (8), (9).
/// Energies of −∞ get nothing. Computed in double.
/// \throws shape_error  unless dW has the shape of E and previous m entries; argument_error  if one
///         is negative.
/// Cost: O(n·m), and 2·n·m numbers in double.
template <dense_expression E, dense_expression P, dense_expression G>
[[nodiscard]] auto monotonic_weights_backward(const E& energies, const P& previous, const G& dW) {
  monotonic_weights_gradients<plain_matrix_like<E>> g;
  if constexpr (detail::check_scalars<E, P, G>()) {
    using T = detail::scalar_of<E>;
    const char* where = "monotonic_weights_backward";
    const auto from = detail::checked_previous(where, previous, "E.cols()", energies.cols());
    const auto fits = [&](const char* name, index is, const char* of, index wanted) {
      detail::check_sizes(where, name, is, of, wanted,
                          "a gradient has the shape of what it belongs to");
    };
    fits("dW.rows()", dW.rows(), "E.rows()", energies.rows());
    fits("dW.cols()", dW.cols(), "E.cols()", energies.cols());
    const detail::row_major<T> d = dW;
    detail::monotonic_rows rows(detail::row_major<T>(energies), T(0), from.row(0));
    const std::vector<double> first = rows.back([&](index i, index j) { return double(d(i, j)); });
    g.dE.resize(energies.rows(), energies.cols());
    for (index i = 0; i < g.dE.rows(); ++i)
      for (index j = 0; j < g.dE.cols(); ++j) g.dE(i, j) = T(rows.gradient(i, j));
    g.dprevious.resize(1, energies.cols());
    for (index j = 0; j < g.dprevious.cols(); ++j) g.dprevious(0, j) = T(first[std::size_t(j)]);
  }
  return g;
}

/// The way back through monotonic_attention() in expectation, given dO, n×(query·e), with energies
/// and weights computed again. Steps of a decoder go back one by one: the dprevious of a step is
/// the dweights of the step before.
/// \param dweights  the gradient of the weights where something else reads them, n×m, those of
///                  query heads below each other; empty: none.
/// \param policies  those of the call: scaled_dot or dot scores, transforms, a mask, heads, an
///                  executor (which is given heads of keys), options.
/// \throws shape_error  unless dO and dweights fit; argument_error  for the hard form, whose choice
///         has no gradient; as monotonic_attention() otherwise.
/// Cost: O(n·m·(d + e)), and 2·n·m numbers in double for a head.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression P,
          dense_expression G, dense_expression W, class... Ps>
  requires(!dense_expression<Ps> && ...)
[[nodiscard]] auto monotonic_attention_backward(const Q& q, const K& k, const V& v,
                                                const monotonic_options& how, const P& previous,
                                                const G& dO, const W& dweights,
                                                const Ps&... policies) {
  monotonic_gradients<plain_matrix_like<Q>> g;
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_scalars<Q, P, G, W>() &&
                detail::check_all_rows<Ps...>()) {
    using T = detail::scalar_of<Q>;
    using view = mutable_matrix_view<T>;
    const char* where = "monotonic_attention_backward";
    auto bound = detail::bind(where, q, k, v, policies...);
    using stated = std::remove_cvref_t<decltype(bound.policies())>;
    static_assert(!stated::is_additive && !stated::projects,
                  "softlook: monotonic_attention_backward() takes scaled_dot or dot scores");
    const detail::attention_call<T>& c = bound.call();
    const index n = q.rows(), m = k.rows(), d = c.query_features(), e = c.values();
    const index heads = c.query_heads;
    const detail::row_major<T> from = [&] {
      if constexpr ((detail::is_heads<Ps> || ...))
        return detail::checked_previous(where, previous, m, heads);
      else
        return detail::checked_previous(where, previous, "K.rows()", m);
    }();
    detail::check_parameter<T>(where, "score_bias", how.score_bias, detail::parameter::finite,
                               "a bias of scores is finite");
    if (how.form == monotonic_form::hard)
      detail::raise<argument_error>(
          "monotonic_attention_backward: the form is hard (a choice has no gradient; train its "
          "expectation)");
    const auto fits = [&](const char* name, index is, const char* of, index wanted) {
      detail::check_sizes(where, name, is, of, wanted,
                          "a gradient has the shape of what it belongs to");
    };
    fits("dO.rows()", dO.rows(), "Q.rows()", n);
    fits("dO.cols()", dO.cols(), "the columns of the output", e * heads);
    if (dweights.size() > 0) {
      fits("dweights.rows()", dweights.rows(), "query heads * Q.rows()", heads * n);
      fits("dweights.cols()", dweights.cols(), "K.rows()", m);
    }
    const detail::readable<G> given(dO);
    const detail::readable<W> of_weights(dweights);
    g.dQ.setZero(q.rows(), q.cols());
    g.dK.setZero(k.rows(), k.cols());
    g.dV.setZero(v.rows(), v.cols());
    g.dprevious.setZero(heads, m);
    std::vector<double> of_bias(static_cast<std::size_t>(heads));
    detail::run_tasks(c.exec, c.kv_heads, [&](index of, index) {
      for (index head = of * c.group(); head < (of + 1) * c.group(); ++head) {
        detail::attention_call<T> one = detail::call_of_head(c, head);
        one.exec = detail::calling_thread;
        one.opts.workspace = nullptr;  // one call at a time
        const auto S = detail::all_energies<false>(one);
        const attention_gradients<view> to{detail::writable_view(g.dQ).columns(head * d, d),
                                           detail::writable_view(g.dK).columns(of * d, d),
                                           detail::writable_view(g.dV).columns(of * e, e)};
        const auto rows =
            dweights.size() > 0 ? of_weights.view().rows_from(head * n, n) : matrix_view<T>{};
        of_bias[std::size_t(head)] = detail::monotonic_head_back(
            one, S, T(how.score_bias), bound.policies().transforms(),
            detail::row_major<T>(from.row(head)), given.view().columns(head * e, e), rows, to,
            detail::writable_view(g.dprevious).rows_from(head, 1));
      }
    });
    for (const double sum : of_bias) g.dscore_bias += sum;
  }
  return g;
}
/// Without other readers of the weights.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression P,
          dense_expression G, class... Ps>
  requires(!dense_expression<Ps> && ...)
[[nodiscard]] auto monotonic_attention_backward(const Q& q, const K& k, const V& v,
                                                const monotonic_options& how, const P& previous,
                                                const G& dO, const Ps&... policies) {
  const detail::row_major<detail::scalar_of<Q>> none;
  return monotonic_attention_backward(q, k, v, how, previous, dO, none, policies...);
}

/// \}

SOFTLOOK_NAMESPACE_END
