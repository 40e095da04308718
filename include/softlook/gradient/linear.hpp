#pragma once

#include "softlook/core/parameters.hpp"
#include "softlook/gradient/detail/activation.hpp"
#include "softlook/gradient/detail/products.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup gradients Gradients of layers
/// What training needs of every layer, in one shape:
///   Y = …_forward(weights, inputs, saved, policies…)
///   dX = …_backward(weights, saved, dY, gradients, policies…)
/// The way forward keeps in `saved` what the way back needs; that adds to `gradients`, a struct of
/// the weights' own form. `saved` owns Y, dX and what lies between; used again for the same shapes,
/// and with options{.workspace}, a call allocates nothing. The way back must see the weights and
/// the policies of the way forward. Gradients are those of a number L with dL/dY = dY. They are
/// added up, so that several inputs share weights: begin with zeros_like(weights).
/// \cases tests/conformance/data/torch/transformer
/// \{

/// The weights of a linear map; an empty b is none.
template <class T>
struct linear_parameters {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
  using row = Eigen::Matrix<T, 1, Eigen::Dynamic>;
  matrix W{};  ///< inputs × outputs
  row b{};     ///< empty: none

  template <class F, class... P>
  static void visit(F&& f, P&... p) {
    f("W", p.W...);
    f("b", p.b...);
  }
};

/// What linear_forward() keeps: (inputs + 2·outputs)·n numbers, and inputs·n for the way back.
template <class T>
struct saved_linear {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  matrix X{};    ///< n×inputs
  matrix sum{};  ///< X·W + b, n×outputs; empty without an activation
  matrix Y{};    ///< n×outputs
  matrix dX{};   ///< n×inputs, written by linear_backward()
  matrix dsum{};

  [[nodiscard]] std::size_t bytes() const {
    return detail::bytes_of(X) + detail::bytes_of(sum) + detail::bytes_of(Y) +
           detail::bytes_of(dX) + detail::bytes_of(dsum);
  }
};

namespace detail {

template <class T>
void check_linear(const char* where, const linear_parameters<T>& p) {
  if (p.b.size() > 0)
    check_sizes(where, "b.size()", p.b.size(), "W.cols()", p.W.cols(),
                "it has an entry for each column, or none");
}

/// A gradient has the shape of its weights.
template <class P>
void check_gradients(const char* where, const P& weights, const P& gradients) {
  if (same_shapes(weights, gradients)) return;
  for_each_parameter(
      [&](const std::string& name, const auto& w, const auto& g) {
        check_sizes(where, ("gradients." + name + ".rows()").c_str(), g.rows(),
                    ("weights." + name + ".rows()").c_str(), w.rows(),
                    "a gradient has the shape of its weights");
        check_sizes(where, ("gradients." + name + ".cols()").c_str(), g.cols(),
                    ("weights." + name + ".cols()").c_str(), w.cols(),
                    "a gradient has the shape of its weights");
      },
      weights, gradients);
}

/// dY has the shape of the output.
template <class G, class Y>
void check_output_gradient(const char* where, const G& dY, const Y& output) {
  check_sizes(where, "dY.rows()", dY.rows(), "the output's rows", output.rows(),
              "a gradient has the shape of what it belongs to");
  check_sizes(where, "dY.cols()", dY.cols(), "the output's columns", output.cols(),
              "a gradient has the shape of what it belongs to");
}

}  // namespace detail

/// Y = f(X·W + b), X: n×inputs -> saved.Y: n×outputs.
/// \param policies  an executor and options.
/// \throws shape_error  unless X has a column for each row of W, and b fits.
template <class T, dense_expression X, class... Ps>
const auto& linear_forward(const linear_parameters<T>& p, const X& x, saved_linear<T>& saved,
                           activation f, const Ps&... policies) {
  const char* where = "linear_forward";
  detail::check_linear(where, p);
  detail::check_sizes(where, "X.cols()", x.cols(), "W.rows()", p.W.rows(),
                      "a row of X has an entry for each row of W");
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  saved.X = x;
  detail::shape_as(saved.Y, x.rows(), p.W.cols());
  products.multiply(detail::view_of(saved.X), detail::view_of(p.W), detail::writable_view(saved.Y),
                    detail::view_of(p.b));
  if (f != activation::none) {
    saved.sum = saved.Y;
    detail::activate(f, call.isa, saved.Y.data(), saved.Y.size());
  }
  return saved.Y;
}

/// dX = dS·Wᵀ, dW += Xᵀ·dS, db += the sum of dS's rows, where dS = dY ∘ f'(X·W + b).
/// \throws shape_error  unless dY has the output's shape and gradients that of the weights.
template <class T, dense_expression G, class... Ps>
const auto& linear_backward(const linear_parameters<T>& p, saved_linear<T>& saved, const G& dY,
                            linear_parameters<T>& gradients, activation f, const Ps&... policies) {
  const char* where = "linear_backward";
  detail::check_gradients(where, p, gradients);
  detail::check_output_gradient(where, dY, saved.Y);
  const detail::layer_call call = detail::layer_call_of(where, policies...);
  detail::matrix_products<T> products(call);
  saved.dsum = dY;
  if (f != activation::none)
    detail::activation_backward(f, saved.sum.data(), saved.dsum.data(), saved.dsum.data(),
                                saved.dsum.size());
  const auto dS = detail::view_of(saved.dsum);
  products.add(detail::view_of(saved.X).transpose(), dS, detail::writable_view(gradients.W));
  products.add_column_sums(dS, detail::writable_view(gradients.b));
  detail::shape_as(saved.dX, saved.X.rows(), saved.X.cols());
  products.multiply(dS, detail::view_of(p.W).transpose(), detail::writable_view(saved.dX));
  return saved.dX;
}

/// \}

SOFTLOOK_NAMESPACE_END
