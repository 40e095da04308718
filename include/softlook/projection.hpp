#pragma once

#include "softlook/detail/layer.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup layers Linear maps and layer normalisation
/// What layers are made of besides attention.
/// \cases tests/conformance/data/torch/transformer
/// \{

/// A linear map with a bias and an activation, its weights packed once:
///   Y = f(X·W + b)
///
/// X: n×inputs, W: inputs×outputs, b: outputs -> Y: n×outputs. A torch.nn.Linear stores Wᵀ: give
/// weight.transpose(). The product runs on the register micro-kernel of attention; X is read where
/// it lies and b and f are applied to a tile while it is in the first-level cache. Column j of Y
/// does not depend on how many rows X has, on the executor, or on the storage order.
/// Cost: O(n·inputs·outputs) time; memory: one copy of W.
template <class T>
class projection {
 public:
  using scalar = T;

  projection() = default;
  template <dense_expression W>
  explicit projection(const W& weights, activation f = activation::none)
      : projection(weights, Eigen::Matrix<T, 1, Eigen::Dynamic>(), f) {}
  /// \throws shape_error  unless b has an entry for each column of W, or none at all.
  template <dense_expression W, dense_expression B>
  projection(const W& weights, const B& bias, activation f = activation::none) {
    constexpr bool same =
        std::is_same_v<detail::scalar_of<W>, T> && std::is_same_v<detail::scalar_of<B>, T>;
    static_assert(same, "softlook: a projection<T> is made of matrices of T");
    if constexpr (same && detail::check_scalars<W, B>()) {
      const detail::readable<W> w(weights);
      const detail::readable<B> b(bias);
      packed_ = {
          w.view(),
          detail::checked_row("projection", "b.size()", b.view(), "W.cols()", weights.cols()), f};
    }
  }

  [[nodiscard]] index inputs() const { return packed_.inputs(); }
  [[nodiscard]] index outputs() const { return packed_.outputs(); }

  /// Y in X's storage order.
  /// \param policies  an executor, options (isa).
  /// \throws shape_error  unless X.cols() is inputs().
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto operator()(const X& x, const Ps&... policies) const {
    plain_matrix_like<X> y(x.rows(), outputs());
    run("projection", x, y, policies...);
    return y;
  }
  /// Into the caller's n×outputs matrix, block or map, which is never resized.
  /// \throws argument_error  if Y overlaps X; nothing has been written then.
  template <dense_expression X, dense_expression Y, class... Ps>
  void into(const X& x, Y&& y, const Ps&... policies) const {
    run("projection::into", x, y, policies...);
  }

 private:
  template <class X, class Y, class... Ps>
  void run(const char* where, const X& x, Y& y, const Ps&... policies) const {
    if constexpr (detail::check_scalars<X, Y>() && detail::check_layer_policies<T, Ps...>()) {
      static_assert(std::is_same_v<detail::scalar_of<X>, T>,
                    "softlook: a projection<T> is applied to matrices of T");
      const detail::readable<X> in(x);
      const mutable_matrix_view<T> out = detail::writable_view(y);
      detail::check_sizes(where, "X.cols()", x.cols(), "inputs()", inputs(),
                          "a row of X has an entry for each row of W");
      detail::check_layer_output(where, out, "X.rows()", x.rows(), "outputs()", outputs());
      detail::check_overlap(where, "X", out, in.view(), "Y");
      const detail::layer_call call = detail::layer_call_of(where, policies...);
      packed_.run(call.isa, call.exec, in.view(), out);
    }
  }

  detail::packed_linear<T> packed_;
};

/// \}

SOFTLOOK_NAMESPACE_END
