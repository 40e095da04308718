#pragma once

#include "softlook/layer/matrix_layer.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup layers
/// \{

/// Layer normalisation of every row,
///   y = gain ∘ (x − mean x)/√(var x + ε) + bias,
/// with the biased variance, taken around the mean in a second pass.
///
/// \see Ba, Kiros, Hinton, "Layer Normalization", 2016, Eq. (3), (4).
/// X: n×features -> Y: n×features, which may be X itself. A call takes an executor and options
/// (isa, workspace). Cost: O(n·features).
template <class T>
class layer_norm : public matrix_layer<layer_norm<T>, T> {
 public:
  layer_norm() = default;
  /// \throws shape_error  unless bias has an entry for each of gain's, or none at all;
  ///         argument_error  unless ε is finite and not negative.
  template <dense_expression G, dense_expression B>
  layer_norm(const G& gain, const B& bias, double epsilon = 1e-5) {
    constexpr bool same =
        std::is_same_v<detail::scalar_of<G>, T> && std::is_same_v<detail::scalar_of<B>, T>;
    static_assert(same, "softlook: a layer_norm<T> is made of vectors of T");
    if constexpr (same && detail::check_scalars<G, B>()) {
      const detail::readable<G> g(gain);
      const detail::readable<B> b(bias);
      detail::check_epsilon<T>("layer_norm", epsilon);
      norm_ = {
          detail::checked_row("layer_norm", "gain.size()", g.view(), "gain.size()", gain.size()),
          detail::checked_row("layer_norm", "bias.size()", b.view(), "gain.size()", gain.size()),
          epsilon};
    }
  }

  [[nodiscard]] index features() const { return norm_.features(); }

  [[nodiscard]] const detail::row_norm<T>& rows() const { return norm_; }

 private:
  friend detail::layer_entry;
  static constexpr const char* name_ = "layer_norm";
  static constexpr const char* columns_name_ = "features()";

  template <class... Xs>
  static constexpr bool check_matrices() {
    constexpr bool same = (std::is_same_v<detail::scalar_of<Xs>, T> && ...);
    static_assert(same, "softlook: a layer_norm<T> is applied to matrices of T");
    return same;
  }
  void check(const matrix_view<T>& X) const {
    detail::check_sizes(name_, "X.cols()", X.cols, "features()", features(),
                        "a row of X has an entry for each of gain's");
  }
  [[nodiscard]] index scratch_size(const matrix_view<T>& X, const detail::layer_call& call) const {
    return norm_.workers(X.rows, call.exec) * norm_.scratch_size();
  }
  void run(const matrix_view<T>& X, const mutable_matrix_view<T>& Y,
           const detail::scratch_space<T>& scratch, const detail::layer_call& call) const {
    norm_.run(call.isa, call.exec, X, Y, scratch.start);
  }

  detail::row_norm<T> norm_;
};

/// \}

SOFTLOOK_NAMESPACE_END
