#pragma once

#include "softlook/detail/layer.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup layers
/// \{

/// Layer normalisation of every row,
///   y = gain ∘ (x − mean x)/√(var x + ε) + bias,
/// with the biased variance, taken around the mean in a second pass.
///
/// \see Ba, Kiros, Hinton, "Layer Normalization", 2016, Eq. (3), (4).
/// X: n×features -> Y: n×features. Cost: O(n·features).
template <class T>
class layer_norm {
 public:
  using scalar = T;

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
      detail::check_epsilon("layer_norm", epsilon);
      norm_ = {
          detail::checked_row("layer_norm", "gain.size()", g.view(), "gain.size()", gain.size()),
          detail::checked_row("layer_norm", "bias.size()", b.view(), "gain.size()", gain.size()),
          epsilon};
    }
  }

  [[nodiscard]] index features() const { return norm_.features(); }

  /// Y in X's storage order. \param policies  an executor, options (isa, workspace).
  /// \throws shape_error  unless X.cols() is features().
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto operator()(const X& x, const Ps&... policies) const {
    plain_matrix_like<X> y(x.rows(), x.cols());
    run("layer_norm", x, y, policies...);
    return y;
  }
  /// Into the caller's matrix, block or map, which is never resized; it may be X itself, and must
  /// not overlap it otherwise.
  template <dense_expression X, dense_expression Y, class... Ps>
  void into(const X& x, Y&& y, const Ps&... policies) const {
    run("layer_norm::into", x, y, policies...);
  }

  [[nodiscard]] const detail::row_norm<T>& rows() const { return norm_; }

 private:
  template <class X, class Y, class... Ps>
  void run(const char* where, const X& x, Y& y, const Ps&... policies) const {
    if constexpr (detail::check_scalars<X, Y>() && detail::check_layer_policies<T, Ps...>()) {
      static_assert(std::is_same_v<detail::scalar_of<X>, T>,
                    "softlook: a layer_norm<T> is applied to matrices of T");
      const detail::readable<X> in(x);
      const mutable_matrix_view<T> out = detail::writable_view(y);
      detail::check_sizes(where, "X.cols()", x.cols(), "features()", features(),
                          "a row of X has an entry for each of gain's");
      detail::check_layer_output(where, out, "X.rows()", x.rows(), "features()", features());
      detail::check_in_place(where, out, in.view());
      const detail::layer_call call = detail::layer_call_of(where, policies...);
      detail::call_scratch memory(call.opts.workspace);
      const index workers = norm_.workers(x.rows(), call.exec);
      norm_.run(call.isa, call.exec, in.view(), out,
                memory.template take<T>(workers * norm_.scratch()));
    }
  }

  detail::row_norm<T> norm_;
};

/// \}

SOFTLOOK_NAMESPACE_END
