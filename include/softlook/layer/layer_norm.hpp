#pragma once

#include "softlook/layer/detail/norm_layer.hpp"

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
class layer_norm : public detail::norm_layer<layer_norm<T>, T> {
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
      this->set(name_, g.view(), b.view(), epsilon, true);
    }
  }

 private:
  friend detail::layer_entry;
  template <class, class>
  friend class detail::norm_layer;
  static constexpr const char* name_ = "layer_norm";
};

/// \}

SOFTLOOK_NAMESPACE_END
