#pragma once

#include "softlook/gradient/detail/feed_forward.hpp"
#include "softlook/gradient/linear.hpp"
#include "softlook/layer/detail/feed_forward.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup gradients
/// \{

/// The weights of a feed-forward; empty b are none, and without W3 there is no gate. The layers of
/// a Transformer have the same members.
template <class T>
struct feed_forward_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  matrix W1{}, W2{};  ///< features × hidden, hidden × features
  row b1{}, b2{};
  matrix W3{};  ///< of the gate, features × hidden
  row b3{};

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("W1", p.W1...);
    f("W2", p.W2...);
    f("b1", p.b1...);
    f("b2", p.b2...);
    f("W3", p.W3...);
    f("b3", p.b3...);
  }
};

/// What feed_forward_forward() keeps: 2·(features + hidden)·n numbers, hidden·n more with a gate,
/// and for the way back (2·features + hidden)·n and hidden·n.
template <class T>
struct saved_feed_forward {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix X{};
  detail::kept_feed_forward<T> rows{};
  matrix Y{};   ///< n×features
  matrix dY{};  ///< as it was given
  matrix dX{};  ///< n×features, written by feed_forward_backward()

  [[nodiscard]] std::size_t bytes() const {
    return detail::bytes_of(X) + rows.bytes() + detail::bytes_of(Y) + detail::bytes_of(dY) +
           detail::bytes_of(dX);
  }
};

/// Y = f(X·W1 + b1)·W2 + b2, with W3 (f(X·W1 + b1) ∘ (X·W3 + b3))·W2 + b2 -> saved.Y.
/// \see Vaswani et al., 2017, section 3.3; Shazeer, "GLU Variants Improve Transformer", 2020, Eq.
///      (5) (SwiGLU with activation::silu).
/// \param policies  an executor and options.
/// \throws shape_error  unless the matrices fit each other and X.
template <class T, dense_expression X, class... Ps>
const auto& feed_forward_forward(const feed_forward_parameters<T>& p, const X& x,
                                 saved_feed_forward<T>& saved, activation f,
                                 const Ps&... policies) {
  const char* where = "feed_forward_forward";
  detail::check_sizes(where, "X.cols()", x.cols(), "W1.rows()", p.W1.rows(),
                      "a row of X has an entry for each row of W1");
  detail::check_feed_forward(where, p, "X.cols()", x.cols());
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  saved.X = x;
  detail::shape_as(saved.Y, x.rows(), p.W2.cols());
  detail::feed_rows(products, f, detail::feed_forward_of(p), detail::view_of(saved.X), saved.rows,
                    detail::writable_view(saved.Y));
  return saved.Y;
}

/// dX, and gradients of the matrices and biases.
/// \throws shape_error  unless dY has the output's shape and gradients that of the weights.
template <class T, dense_expression G, class... Ps>
const auto& feed_forward_backward(const feed_forward_parameters<T>& p, saved_feed_forward<T>& saved,
                                  const G& dY, feed_forward_parameters<T>& gradients, activation f,
                                  const Ps&... policies) {
  const char* where = "feed_forward_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dY, saved.Y);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  saved.dY = dY;
  saved.dX.setZero(saved.X.rows(), saved.X.cols());
  detail::feed_rows_back(products, f, detail::feed_forward_of(p), detail::view_of(saved.X),
                         saved.rows, detail::view_of(saved.dY),
                         detail::feed_forward_gradients_of(gradients),
                         detail::writable_view(saved.dX));
  return saved.dX;
}

/// \}

SOFTLOOK_NAMESPACE_END
