#pragma once

#include "softlook/layer/matrix_layer.hpp"
#include "softlook/layer/weight_format.hpp"

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
///
/// Weights of float may be kept in 2 bytes or in 1 each, as a weight_storage says: the call gives
/// Y = f(X·Ŵ + b) with the rounded Ŵ. Arithmetic stays float, as do X, b and Y. With bfloat16 Y has
/// the bits of a layer of Ŵ in float. With int8 the scale of a column is multiplied into its sum,
/// so Y is near that, unless 127·Σ|X(i, k)| is beyond float; a column whose largest weight is below
/// 1.27e-34 becomes 0. For as many rows as a register tile has (8 or 4), a call takes as long as
/// reading Ŵ, where that does not lie in a cache.
/// \see Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", 2022,
///      section 3.1: a scale for each column, of the largest magnitude.
template <class T>
class linear_layer : public matrix_layer<linear_layer<T>, T> {
 public:
  linear_layer() = default;
  template <dense_expression W>
  explicit linear_layer(const W& weights, activation f = activation::none,
                        const weight_format<T>& kept = {})
      : linear_layer(weights, Eigen::Matrix<T, 1, Eigen::Dynamic>(), f, kept) {}
  /// \throws shape_error     unless b has an entry for each column of W, or none at all;
  ///         argument_error  for a weight that is not finite and is to be kept as int8.
  template <dense_expression W, dense_expression B>
  linear_layer(const W& weights, const B& bias, activation f = activation::none,
               const weight_format<T>& kept = {}) {
    constexpr bool same =
        std::is_same_v<detail::scalar_of<W>, T> && std::is_same_v<detail::scalar_of<B>, T>;
    static_assert(same, "softlook: a linear_layer<T> is made of matrices of T");
    if constexpr (same && detail::check_scalars<W, B>()) {
      const detail::readable<W> w(weights);
      const detail::readable<B> b(bias);
      packed_ = {name_, w.view(),
                 detail::checked_row(name_, "b.size()", b.view(), "W.cols()", weights.cols()), f,
                 kept.packed()};
    }
  }

  [[nodiscard]] index inputs() const { return packed_.inputs(); }
  [[nodiscard]] index outputs() const { return packed_.outputs(); }
  [[nodiscard]] weight_storage storage() const { return packed_.storage(); }
  /// Of the packed weights, which a call reads: outputs are filled up to a multiple of 48 (24 of
  /// double).
  [[nodiscard]] std::size_t weight_bytes() const { return packed_.bytes(); }

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
  [[nodiscard]] index scratch_size(const matrix_view<T>& X, const detail::layer_call&) const {
    return detail::matrix_cursor<T>::size(X.rows, packed_.rounded_columns());
  }
  void run(const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>& scratch, const detail::layer_call& call) const {
    packed_.run(call.isa, call.exec, X, Y,
                detail::matrix_cursor<T>(scratch).take(X.rows, packed_.rounded_columns()));
  }

  detail::packed_linear<T> packed_;
};

/// \}

SOFTLOOK_NAMESPACE_END
