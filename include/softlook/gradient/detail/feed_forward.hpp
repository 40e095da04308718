#pragma once

#include "softlook/gradient/detail/activation.hpp"
#include "softlook/gradient/detail/products.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail {

/// The matrices of a feed-forward, or their gradients; biases without columns are none, and W3
/// without columns is no gate.
template <class View>
struct feed_forward_views {
  View W1, b1, W2, b2, W3, b3;
};
template <class Parameters>
[[nodiscard]] auto feed_forward_of(const Parameters& p) {
  return feed_forward_views<decltype(view_of(p.W1))>{view_of(p.W1), view_of(p.b1), view_of(p.W2),
                                                     view_of(p.b2), view_of(p.W3), view_of(p.b3)};
}
template <class Parameters>
[[nodiscard]] auto feed_forward_gradients_of(Parameters& p) {
  return feed_forward_views<decltype(writable_view(p.W1))>{
      writable_view(p.W1), writable_view(p.b1), writable_view(p.W2),
      writable_view(p.b2), writable_view(p.W3), writable_view(p.b3)};
}

/// What the way back of a feed-forward needs besides its input.
template <class T>
struct kept_feed_forward {
  row_major<T> sum;     // X·W1 + b1
  row_major<T> hidden;  // what W2 takes
  row_major<T> gate;    // X·W3 + b3; empty without a gate
  row_major<T> dsum, dgate;

  [[nodiscard]] std::size_t bytes() const {
    return bytes_of(sum) + bytes_of(hidden) + bytes_of(gate) + bytes_of(dsum) + bytes_of(dgate);
  }
};

/// Y = f(X·W1 + b1)·W2 + b2, with a gate (f(X·W1 + b1) ∘ (X·W3 + b3))·W2 + b2.
template <class T>
void feed_rows(matrix_products<T>& products, activation f,
               const feed_forward_views<matrix_view<T>>& p, const matrix_view<T>& X,
               kept_feed_forward<T>& kept, const mutable_matrix_view<T>& Y) {
  const bool gated = p.W3.cols > 0;
  const index hidden = p.W1.cols;
  shape_as(kept.sum, X.rows, hidden);
  shape_as(kept.gate, gated ? X.rows : 0, gated ? hidden : 0);
  products.multiply(X, p.W1, writable_view(kept.sum), p.b1);
  kept.hidden = kept.sum;
  activate(f, products.call().isa, kept.hidden.data(), kept.hidden.size());
  if (gated) {
    products.multiply(X, p.W3, writable_view(kept.gate), p.b3);
    for (index k = 0; k < kept.hidden.size(); ++k) kept.hidden.data()[k] *= kept.gate.data()[k];
  }
  products.multiply(as_input(writable_view(kept.hidden)), p.W2, Y, p.b2);
}

/// dX += the gradient of X; those of the matrices are added to.
template <class T>
void feed_rows_back(matrix_products<T>& products, activation f,
                    const feed_forward_views<matrix_view<T>>& p, const matrix_view<T>& X,
                    kept_feed_forward<T>& kept, const matrix_view<T>& dY,
                    const feed_forward_views<mutable_matrix_view<T>>& to,
                    const mutable_matrix_view<T>& dX) {
  const bool gated = p.W3.cols > 0;
  const index count = kept.sum.size();
  products.add(view_of(kept.hidden).transpose(), dY, to.W2);
  products.add_column_sums(dY, to.b2);
  shape_as(kept.dsum, X.rows, p.W1.cols);
  products.multiply(dY, p.W2.transpose(), writable_view(kept.dsum));
  if (gated) {
    kept.dgate = kept.sum;  // becomes f(sum), the gate's factor
    activate(f, products.call().isa, kept.dgate.data(), count);
    T *const dsum = kept.dsum.data(), *const dgate = kept.dgate.data();
    for (index k = 0; k < count; ++k) {
      dgate[k] *= dsum[k];
      dsum[k] *= kept.gate.data()[k];
    }
    const auto dG = view_of(kept.dgate);
    products.add(X.transpose(), dG, to.W3);
    products.add_column_sums(dG, to.b3);
    products.add(dG, p.W3.transpose(), dX);
  }
  activation_backward(f, kept.sum.data(), kept.dsum.data(), kept.dsum.data(), count);
  const auto dS = view_of(kept.dsum);
  products.add(X.transpose(), dS, to.W1);
  products.add_column_sums(dS, to.b1);
  products.add(dS, p.W1.transpose(), dX);
}

}  // namespace detail
SOFTLOOK_NAMESPACE_END
