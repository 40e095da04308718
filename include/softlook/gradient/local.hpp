#pragma once

#include "softlook/attention/local.hpp"
#include "softlook/gradient/attention.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What local_attention_backward() of predicted positions returns.
template <class Matrix>
struct local_gradients {
  Matrix dQ;
  Matrix dK;
  Matrix dV;
  Matrix dW;                                                     ///< d×a, of all heads
  Eigen::Matrix<typename Matrix::Scalar, 1, Eigen::Dynamic> dv;  ///< a
};

namespace detail {

/// Σ_j x_ij and Σ_j x_ij (j − p_i) of each row in each head, with x = a ∘ (dO Vᵀ): what the
/// softmax and the positions need.
template <class T>
struct window_sums {
  const sorted_windows<T>& windows;
  gaussian_transform<T> near;
  index rows;
  std::vector<double> along, away;

  window_sums(const sorted_windows<T>& w, index half_width, index rows_of_head, index heads)
      : windows(w),
        near(gaussian_of(w, half_width)),
        rows(rows_of_head),
        along(std::size_t(rows * heads)),
        away(along.size()) {}

  void add(index head, const score_gradient_block<T>& block) {
    for (index i = 0; i < block.dS.rows; ++i) {
      const index row = head * rows + windows.row(head, block.first_query + i);
      for (index j = 0; j < block.dS.cols; ++j) {
        const T x = block.dS(i, j);
        if (x == T(0)) continue;
        along[std::size_t(row)] += double(x);
        away[std::size_t(row)] +=
            double(x) * double(near.distance(row, std::int32_t(block.first_key + j)));
      }
    }
  }
};

/// Adds the gradients of a call over windows: query heads that share keys one after the other. The
/// rows of Q, dO, dQ, L and D are sorted.
template <class T, class Take>
void add_backward_over_windows(const attention_call<T>& c, const backward_matrices<T>& all,
                               const sorted_windows<T>& windows, const Take* take) {
  const index d = c.query_features(), e = c.values();
  run_tasks(c.exec, c.kv_heads, [&](index of, index) {
    for (index head = of * c.group(); head < (of + 1) * c.group(); ++head) {
      attention_call<T> one = call_of_head(c, head);
      one.exec = calling_thread;
      one.opts.workspace = nullptr;  // one call at a time
      windows.limit(one.frame, head);
      backward_matrices<T> b;
      b.O = all.O.columns(head * e, e);
      b.dO = all.dO.columns(head * e, e);
      b.log_sum_exp = all.log_sum_exp.columns(head, 1);
      if (all.dL.data) b.dL = all.dL.columns(head, 1);
      b.dQ = all.dQ.columns(head * d, d);
      b.dK = all.dK.columns(of * d, d);
      b.dV = all.dV.columns(of * e, e);
      struct receiver {
        const Take* take;
        index head;
      } to{take, head};
      if (take) {
        b.self = &to;
        b.take = [](void* self, index, const score_gradient_block<T>& block) {
          const receiver& r = *static_cast<const receiver*>(self);
          (*r.take)(r.head, block);
        };
      }
      add_backward<false>(one, b);
    }
  });
}

/// dz of z = v·tanh(q W), p = m·sigmoid(z), to queries and weights.
template <class T, class Matrix>
void add_position_gradients(const attention_call<T>& c, const alignments::predictive<T>& p,
                            const std::vector<double>& dz, local_gradients<Matrix>& g) {
  const index n = c.Q.rows, d = c.query_features(), a = p.W().cols;
  matrix_products<T> products(c);
  row_major<T> hidden(n, a);
  for (index head = 0; head < c.query_heads; ++head) {
    const matrix_view<T> Q = c.Q.columns(head * d, d);
    products.multiply(Q, p.W(), writable_view(hidden));
    for (index i = 0; i < n; ++i)
      for (index x = 0; x < a; ++x) {
        const T h = math::tanh(hidden(i, x)), by = T(dz[std::size_t(head * n + i)]);
        g.dv[x] += by * h;
        hidden(i, x) = by * p.v()(0, x) * (T(1) - h * h);
      }
    products.add(Q.transpose(), view_of(hidden), writable_view(g.dW));
    products.add(view_of(hidden), p.W().transpose(), writable_view(g.dQ).columns(head * d, d));
  }
}

}  // namespace detail

/// The way back through local_attention() with monotonic alignment, given dO: that of attention
/// under the mask of the windows, with weights computed again.
/// \param policies  those of the call: scaled_dot or dot scores, and what attention_backward()
/// takes.
/// \throws shape_error, argument_error  as local_attention(), and unless dO fits.
/// Cost: O(n·D·(d + e)).
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression G,
          class... Ps>
[[nodiscard]] auto local_attention_backward(const Q& q, const K& k, const V& v,
                                            const alignments::monotonic& alignment, const G& dO,
                                            const Ps&... policies) {
  attention_gradients<plain_matrix_like<Q>> g;
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_scalars<Q, G>()) {
    detail::check_half_width("local_attention_backward", alignment.window, 0);
    detail::with_mask(
        detail::window_around(alignment),
        [&](const auto&... ps) {
          const auto state = attention_with_log_sum_exp(q, k, v, ps...);
          g = attention_backward(q, k, v, state.output, state.log_sum_exp, dO, ps...);
        },
        policies...);
  }
  return g;
}

/// The way back through local_attention() with predicted positions, given dO. With P = softmax(s)
/// over a window and a_ij = P_ij·exp(−(j − p_i)²/(2σ²)),
///   x_ij = a_ij·(do_i·v_j),   dv_j = Σ_i a_ij do_i,   ds_ij = x_ij − P_ij Σ_k x_ik,
///   dp_i = Σ_j x_ij (j − p_i)/σ²,   dz_i = dp_i·p_i (1 − p_i/m),  z_i = v·tanh(q_i W).
/// Which keys a window holds is taken as it is: where it changes, the output jumps.
///
/// \see Luong et al., 2015, section 3.2, Eq. (9) and (10).
/// dO: n×(heads·e). A query whose position is NaN has gradients of NaN, and so have W and v.
/// \param policies  those of the call: scaled_dot or dot scores, transforms, a mask, heads, an
///                  executor (which is given heads of keys), options.
/// \throws shape_error, argument_error  as local_attention(), and unless dO fits.
/// Cost: that of local_attention(), and of the way back over the windows twice.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression G,
          class... Ps>
[[nodiscard]] auto local_attention_backward(
    const Q& q, const K& k, const V& v,
    const alignments::predictive<detail::scalar_of<Q>>& alignment, const G& dO,
    const Ps&... policies) {
  using matrix = plain_matrix_like<Q>;
  local_gradients<matrix> g;
  if constexpr (detail::check_types<Q, K, V, Ps...>() && detail::check_scalars<Q, G>() &&
                detail::check_all_rows<Ps...>()) {
    using T = detail::scalar_of<Q>;
    const char* where = "local_attention_backward";
    const auto whole = detail::bind(where, q, k, v, policies...);
    const detail::attention_call<T>& of_call = whole.call();
    const index n = q.rows(), m = k.rows(), heads = of_call.query_heads, D = alignment.window();
    detail::check_sizes(where, "dO.rows()", dO.rows(), "Q.rows()", n, "a gradient for each query");
    detail::check_sizes(where, "dO.cols()", dO.cols(), "the columns of the output",
                        of_call.values() * heads, "a gradient for each entry of the output");
    const std::vector<double> positions = detail::positions_of(where, q, m, alignment, policies...);
    const detail::sorted_windows<T> windows(positions, heads, {D, m});
    const detail::readable<G> given(dO);
    const detail::row_major<T> Q_sorted = detail::rows_by_window(of_call.Q, heads, windows);
    const detail::row_major<T> dO_sorted = detail::rows_by_window(given.view(), heads, windows);
    const detail::row_major<T> nothing(m, 0), none(n, 0), zeros(n, 0);
    const auto state = detail::state_over_windows<detail::row_major<T>>(where, Q_sorted, k, nothing,
                                                                        windows, policies...);
    detail::row_major<T> dQ = detail::row_major<T>::Zero(n, q.cols());
    g.dK.setZero(k.rows(), k.cols());
    g.dV.setZero(v.rows(), v.cols());
    g.dW.setZero(alignment.W().rows, alignment.W().cols);
    g.dv.setZero(alignment.v().cols);
    detail::backward_matrices<T> b;
    b.log_sum_exp = detail::view_of(state.log_sum_exp);
    b.dQ = detail::writable_view(dQ);
    b.dK = detail::writable_view(g.dK);
    b.dV = detail::writable_view(g.dV);
    const auto run = [&](const auto& values, const auto* take, const auto&... ps) {
      auto bound = detail::bind(where, Q_sorted, k, values, ps...);
      using stated = std::remove_cvref_t<decltype(bound.policies())>;
      static_assert(!stated::is_additive && !stated::projects,
                    "softlook: local_attention_backward() takes scaled_dot or dot scores");
      detail::add_derivative(bound.call(), bound.policies());
      detail::add_backward_over_windows(bound.call(), b, windows, take);
    };
    // x is what the kernel makes of the favoured scores, the log-sum-exp of the others, and D = 0.
    detail::window_sums<T> sums(windows, D, n, heads);
    const auto add = [&](index head, const detail::score_gradient_block<T>& block) {
      sums.add(head, block);
    };
    const detail::row_major<T> no_output = detail::row_major<T>::Zero(n, dO_sorted.cols());
    b.O = detail::view_of(no_output);
    b.dO = detail::view_of(dO_sorted);
    run(v, &add, policies..., detail::gaussian_of(windows, D));
    // −P_ij Σ x_ik
    detail::row_major<T> down(n, heads);
    for (index head = 0; head < heads; ++head)
      for (index i = 0; i < n; ++i)
        down(i, head) = T(-sums.along[std::size_t(head * n + windows.row(head, i))]);
    g.dQ.resize(n, q.cols());
    b.O = b.dO = detail::view_of(none);
    b.dL = detail::view_of(down);
    detail::row_major<T> no_values(m, 0);
    b.dV = detail::writable_view(no_values);
    run(nothing, decltype (&add)(nullptr), policies...);
    const index d = of_call.query_features();
    for (index i = 0; i < n; ++i)
      for (index x = 0; x < q.cols(); ++x) g.dQ(windows.row(x / d, i), x) = dQ(i, x);
    std::vector<double> dz(positions.size());
    for (std::size_t i = 0; i < dz.size() && m > 0; ++i) {
      const double p = positions[i], sharp = 4 / (double(D) * double(D));
      dz[i] = sums.away[i] * sharp * p * (1 - p / double(m));
    }
    detail::add_position_gradients(of_call, alignment, dz, g);
  }
  return g;
}

/// \}

SOFTLOOK_NAMESPACE_END
