#pragma once

#include <algorithm>
#include <vector>

#include "softlook/attention/nystrom.hpp"
#include "softlook/gradient/attention.hpp"
#include "softlook/gradient/detail/attention_part.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// What nystrom_attention_backward() returns; dC is empty without a convolution.
template <class Matrix>
struct nystrom_gradients {
  Matrix dQ;
  Matrix dK;
  Matrix dV;
  Matrix dC;
};

namespace detail {

/// The iterates of the pseudo-inverse of A, and the way back through them: with X = A Z,
///   P₁ = 7 I − X,  P₂ = 15 I − X P₁,  P₃ = 13 I − X P₂,  Z ← ¼ Z P₃
template <class T>
class pseudo_inverse_back {
 public:
  pseudo_inverse_back(matrix_products<T>& products, const row_major<T>& A, index iterations)
      : products_(products), A_(A) {
    begin();
    for (index k = 0; k < iterations; ++k) {
      const steps s = steps_of(Z_.back());
      Z_.push_back(product(Z_.back(), s.P3) / T(4));
    }
  }

  [[nodiscard]] const row_major<T>& inverse() const { return Z_.back(); }

  /// dA of dZ.
  [[nodiscard]] row_major<T> operator()(row_major<T> dZ) const {
    row_major<T> dA = row_major<T>::Zero(A_.rows(), A_.cols());
    for (std::size_t k = Z_.size() - 1; k-- > 0;) {
      const row_major<T>& Z = Z_[k];
      const steps s = steps_of(Z);
      const row_major<T> dP3 = product(Z.transpose(), dZ) / T(4);
      dZ = product(dZ, s.P3.transpose()) / T(4);
      row_major<T> dX = -product(dP3, s.P2.transpose());
      const row_major<T> dP2 = -product(s.X.transpose(), dP3);
      dX -= product(dP2, s.P1.transpose());
      dX += product(s.X.transpose(), dP2);  // −dP₁
      dA += product(dX, Z.transpose());
      dZ += product(A_.transpose(), dX);
    }
    // Z₀ = Aᵀ / (rows·columns); a row's own sum is what the softmax before holds fixed.
    const T part = 1 / (rows_ * columns_);
    T along = 0;
    for (index i = 0; i < A_.rows(); ++i)
      for (index j = 0; j < A_.cols(); ++j) along += dZ(j, i) * A_(i, j);
    dA += dZ.transpose() * part;
    dA.col(column_).array() -= along * part / columns_;
    return dA;
  }

 private:
  struct steps {
    row_major<T> X, P1, P2, P3;
  };

  template <class X, class Y>
  [[nodiscard]] row_major<T> product(const X& x, const Y& y) const {
    const readable<X> left(x);
    const readable<Y> right(y);
    row_major<T> out(x.rows(), y.cols());
    products_.multiply(left.view(), right.view(), writable_view(out));
    return out;
  }
  [[nodiscard]] row_major<T> from_identity(T a, row_major<T> X) const {
    X = -X;
    X.diagonal().array() += a;
    return X;
  }
  [[nodiscard]] steps steps_of(const row_major<T>& Z) const {
    steps s;
    s.X = product(A_, Z);
    s.P1 = from_identity(T(7), s.X);
    s.P2 = from_identity(T(15), product(s.X, s.P1));
    s.P3 = from_identity(T(13), product(s.X, s.P2));
    return s;
  }
  /// As pseudo_inverse starts.
  void begin() {
    for (index i = 0; i < A_.rows(); ++i) {
      T row = 0, column = 0;
      for (index j = 0; j < A_.rows(); ++j) {
        row += std::abs(A_(i, j));
        column += std::abs(A_(j, i));
      }
      rows_ = std::max(rows_, row);
      if (column > columns_) column_ = i;
      columns_ = std::max(columns_, column);
    }
    Z_.push_back(A_.transpose() / (rows_ * columns_));
  }

  matrix_products<T>& products_;
  const row_major<T>& A_;
  std::vector<row_major<T>> Z_;
  T rows_ = 0, columns_ = 0;
  index column_ = 0;
};

/// Gradients of one head, all of its own.
template <class T, class... Ps>
[[nodiscard]] attention_gradients<row_major<T>> nystrom_head_back(
    matrix_products<T>& products, const nystrom& how, const row_major<T>& Q, const row_major<T>& K,
    const row_major<T>& V, const row_major<T>& dO, const Ps&... policies) {
  const index L = std::min({how.landmarks, Q.rows(), K.rows()});
  const auto means = [&](const row_major<T>& X) {
    row_major<T> out(L, X.cols());
    for (index s = 0; s < L; ++s)
      segment_mean(view_of(X), segment_of(s, L, X.rows()), out.data() + s * X.cols());
    return out;
  };
  const row_major<T> Qm = means(Q), Km = means(K), I = row_major<T>::Identity(L, L);
  const auto square = attention_with_log_sum_exp(Qm, Km, I, policies...);
  const auto mixed = attention_with_log_sum_exp(Qm, K, V, policies...);
  const pseudo_inverse_back<T> inverse(products, square.output, how.iterations);
  row_major<T> weighted(L, V.cols());
  products.multiply(view_of(inverse.inverse()), view_of(mixed.output), writable_view(weighted));
  const auto whole = attention_with_log_sum_exp(Q, Km, weighted, policies...);

  auto g = attention_backward(Q, Km, weighted, whole.output, whole.log_sum_exp, dO, policies...);
  row_major<T> dmixed(L, V.cols()), dZ(L, L);
  products.multiply(view_of(inverse.inverse()).transpose(), view_of(g.dV), writable_view(dmixed));
  products.multiply(view_of(g.dV), view_of(mixed.output).transpose(), writable_view(dZ));
  const auto of_mixed =
      attention_backward(Qm, K, V, mixed.output, mixed.log_sum_exp, dmixed, policies...);
  const auto of_square = attention_backward(Qm, Km, I, square.output, square.log_sum_exp,
                                            inverse(std::move(dZ)), policies...);
  const auto add_means = [&](const row_major<T>& d, row_major<T>& to) {
    for (index s = 0; s < L; ++s) {
      const range rows = segment_of(s, L, to.rows());
      for (index i = rows.begin; i < rows.end; ++i) to.row(i) += d.row(s) / T(rows.count());
    }
  };
  attention_gradients<row_major<T>> all{std::move(g.dQ), of_mixed.dK, of_mixed.dV};
  add_means(of_mixed.dQ + of_square.dQ, all.dQ);
  add_means(g.dK + of_square.dK, all.dK);
  return all;
}

/// The way back of the convolution of a head's values.
template <class T>
void convolution_back(const matrix_view<T>& filter, const row_major<T>& V, const row_major<T>& dO,
                      row_major<T>& dV, const mutable_matrix_view<T>& dfilter) {
  const index half = filter.cols / 2, n = V.rows();
  for (index t = 0; t < filter.cols; ++t) {
    T sum = 0;
    for (index i = std::max<index>(half - t, 0); i < std::min(n, n + half - t); ++i) {
      const index j = i + t - half;
      for (index c = 0; c < V.cols(); ++c) {
        sum += dO(i, c) * V(j, c);
        dV(j, c) += filter(0, t) * dO(i, c);
      }
    }
    dfilter(0, t) += sum;
  }
}

template <class Q, class K, class V, class G, class... Ps>
[[nodiscard]] auto nystrom_back(const Q& q, const K& k, const V& v, const nystrom& how,
                                const matrix_view<scalar_of<Q>>& filter, const G& dO,
                                const Ps&... policies) {
  using T = scalar_of<Q>;
  const char* where = "nystrom_attention_backward";
  nystrom_gradients<plain_matrix_like<Q>> g;
  const auto bound = bind(where, q, k, v, policies...);
  const attention_call<T>& c = bound.call();
  check_nystrom(c, how, filter);
  const index d = c.query_features(), e = c.values(), heads = c.query_heads;
  check_sizes(where, "dO.rows()", dO.rows(), "Q.rows()", q.rows(), "a gradient for each query");
  check_sizes(where, "dO.cols()", dO.cols(), "the columns of the output", e * heads,
              "a gradient for each entry of the output");
  g.dQ.setZero(q.rows(), q.cols());
  g.dK.setZero(k.rows(), k.cols());
  g.dV.setZero(v.rows(), v.cols());
  g.dC.setZero(filter.rows, filter.cols);
  if (q.rows() == 0 || k.rows() == 0) return g;
  const row_major<T> given = dO;
  matrix_products<T> products(c);
  for (index head = 0; head < heads; ++head) {
    const index of = head / c.group();
    const row_major<T> Qh = map_of(c.Q.columns(head * d, d)), Kh = map_of(c.K.columns(of * d, d));
    const row_major<T> Vh = map_of(c.V.columns(of * e, e)), dOh = given.middleCols(head * e, e);
    auto one = with_plain_policies(
        [&](const auto&... ps) { return nystrom_head_back(products, how, Qh, Kh, Vh, dOh, ps...); },
        policies...);
    if (filter.cols > 0) {
      const index row = filter.rows == 1 ? 0 : head;
      convolution_back(filter.rows_from(row, 1), Vh, dOh, one.dV,
                       writable_view(g.dC).rows_from(row, 1));
    }
    g.dQ.middleCols(head * d, d) += one.dQ;
    g.dK.middleCols(of * d, d) += one.dK;
    g.dV.middleCols(of * e, e) += one.dV;
  }
  return g;
}

}  // namespace detail

/// The way back through nystrom_attention(), given dO, with all weights computed again: through its
/// three attentions, the iterations of the pseudo-inverse and the means of the landmarks.
///   W = Z B,  B = softmax(s·Q̃ Kᵀ) V:   dZ = dW Bᵀ,  dB = Zᵀ dW
///   of Z ← ¼ Z P₃, each iteration:     dP₃ = ¼ Zᵀ dZ',  dZ = ¼ dZ' P₃ᵀ + Aᵀ dX,  dA += dX Zᵀ
///
/// \see Xiong et al., "Nyströmformer", 2021, section 3, Eq. (11) to (14).
/// \param policies  heads, an executor and options, as those of the call.
/// \throws shape_error, argument_error  as nystrom_attention(), and unless dO fits.
/// Cost: a few times that of the way forward, and iterations + 1 matrices of L×L for each head.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression G,
          class... Ps>
  requires(!dense_expression<Ps> && ...)
[[nodiscard]] auto nystrom_attention_backward(const Q& q, const K& k, const V& v,
                                              const nystrom& how, const G& dO,
                                              const Ps&... policies) {
  if constexpr (detail::check_nystrom_types<Q, K, V, Ps...>() && detail::check_scalars<Q, G>())
    return detail::nystrom_back(q, k, v, how, {}, dO, policies...);
}
/// The same with the convolution over values, whose weights C get dC.
template <dense_expression Q, dense_expression K, dense_expression V, dense_expression C,
          dense_expression G, class... Ps>
[[nodiscard]] auto nystrom_attention_backward(const Q& q, const K& k, const V& v,
                                              const nystrom& how, const C& c, const G& dO,
                                              const Ps&... policies) {
  if constexpr (detail::check_nystrom_types<Q, K, V, Ps...>() && detail::check_scalars<Q, C, G>()) {
    const detail::readable<C> filter(c);
    return detail::nystrom_back(q, k, v, how, filter.view(), dO, policies...);
  }
}

/// \}

SOFTLOOK_NAMESPACE_END
