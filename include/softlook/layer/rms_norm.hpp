#pragma once

#include "softlook/layer/detail/norm_layer.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup layers
/// \{

/// Normalisation of every row by the root of its mean square,
///   y = gain ∘ x/√(mean x² + ε):
/// what layer_norm computes where the mean is taken for 0.
///
/// \see Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019, Eq. (4).
/// X: n×features -> Y: n×features, which may be X itself. A call takes an executor and options
/// (isa, workspace). Numbers whose squares leave the type (1e19 in float) give 0 or NaN.
/// Cost: O(n·features).
template <class T>
class rms_norm : public detail::norm_layer<rms_norm<T>, T> {
 public:
  rms_norm() = default;
  /// \throws argument_error  unless ε is finite and not negative.
  template <dense_expression G>
  explicit rms_norm(const G& gain, double epsilon = 1e-5) {
    constexpr bool same = std::is_same_v<detail::scalar_of<G>, T>;
    static_assert(same, "softlook: an rms_norm<T> is made of a vector of T");
    if constexpr (same && detail::check_scalars<G>()) {
      const detail::readable<G> g(gain);
      this->set(name_, g.view(), {}, epsilon, false);
    }
  }

 private:
  friend detail::layer_entry;
  template <class, class>
  friend class detail::norm_layer;
  static constexpr const char* name_ = "rms_norm";
};

/// \}

SOFTLOOK_NAMESPACE_END
