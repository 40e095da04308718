#pragma once

#include "softlook/layer/matrix_layer.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \defgroup layers Linear maps and layer normalisation
/// What layers are made of besides attention.
/// \cases tests/conformance/data/torch/transformer
/// \{

/// A linear map with a bias and an activation, its weights packed once:
///   Y = f(X·W + b)
///
/// X: n×inputs, W: inputs×outputs, b: outputs -> Y: n×outputs, which must not overlap X. A call
/// takes an executor and options (isa). A torch.nn.Linear stores Wᵀ: give weight.transpose(). The
/// product runs on the register micro-kernel of attention; X is read where it lies and b and f are
/// applied to a tile while it is in the first-level cache. Column j of Y does not depend on how
/// many rows X has, on the executor, or on the storage order. Cost: O(n·inputs·outputs) time;
/// memory: one copy of W.
template <class T>
class linear_layer : public matrix_layer<linear_layer<T>, T> {
 public:
  linear_layer() = default;
  template <dense_expression W>
  explicit linear_layer(const W& weights, activation f = activation::none)
      : linear_layer(weights, Eigen::Matrix<T, 1, Eigen::Dynamic>(), f) {}
  /// \throws shape_error  unless b has an entry for each column of W, or none at all.
  template <dense_expression W, dense_expression B>
  linear_layer(const W& weights, const B& bias, activation f = activation::none) {
    constexpr bool same =
        std::is_same_v<detail::scalar_of<W>, T> && std::is_same_v<detail::scalar_of<B>, T>;
    static_assert(same, "softlook: a linear_layer<T> is made of matrices of T");
    if constexpr (same && detail::check_scalars<W, B>()) {
      const detail::readable<W> w(weights);
      const detail::readable<B> b(bias);
      packed_ = {
          w.view(),
          detail::checked_row("linear_layer", "b.size()", b.view(), "W.cols()", weights.cols()), f};
    }
  }

  [[nodiscard]] index inputs() const { return packed_.inputs(); }
  [[nodiscard]] index outputs() const { return packed_.outputs(); }

 private:
  friend detail::layer_entry;
  static constexpr const char* name_ = "linear_layer";
  static constexpr const char* columns_name_ = "outputs()";
  static constexpr bool in_place_ = false;

  template <class... Xs>
  static constexpr bool check_matrices() {
    constexpr bool same = (std::is_same_v<detail::scalar_of<Xs>, T> && ...);
    static_assert(same, "softlook: a linear_layer<T> is applied to matrices of T");
    return same;
  }
  [[nodiscard]] index output_columns(index) const { return outputs(); }
  void check(const matrix_view<T>& X) const {
    detail::check_sizes(name_, "X.cols()", X.cols, "inputs()", inputs(),
                        "a row of X has an entry for each row of W");
  }
  void run(const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>&, const detail::layer_call& call) const {
    packed_.run(call.isa, call.exec, X, Y);
  }

  detail::packed_linear<T> packed_;
};

/// \}

SOFTLOOK_NAMESPACE_END
