#pragma once

#include "softlook/core/concepts.hpp"
#include "softlook/core/error.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace transforms {

/// \addtogroup transforms
/// \{

namespace detail {
struct vector_of_temperatures {
  template <class V>
  static constexpr void check() {
    static_assert(std::is_same_v<softlook::detail::scalar_of<V>, double>,
                  "softlook: temperatures are a vector of double");
    static_assert(V::IsVectorAtCompileTime,
                  "softlook: temperatures are a vector, one entry for each query head");
  }
};
}  // namespace detail

/// Softer weights where t > 1, harder ones where t < 1, with a temperature for each query head:
///   s ← s / t_head
/// A view of the temperatures. One for all heads is a part of the scale, options::scale.
/// \see Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, Eq. (1); Zhang et al.,
///      "Attention Temperature Matters in Abstractive Summarization Distillation", 2022, Eq. (3).
struct temperature {
  using policy_kind = transform_kind;

  explicit temperature(
      softlook::detail::kept_view<double, detail::vector_of_temperatures> temperatures)
      : temperatures_(softlook::detail::as_row(temperatures)) {}

  template <class S>
  [[nodiscard]] S operator()(S s, std::int32_t, std::int32_t, problem p) const {
    return s * static_cast<S>(1 / temperatures_(0, p.head));  // one division for a row of scores
  }
  /// \throws shape_error unless every query head has a temperature; argument_error unless it is
  /// positive and finite, and its inverse as well, in S.
  template <class S = double>
  void check(const char* where, problem p) const {
    if (p.head >= temperatures_.cols)
      softlook::detail::raise_sizes(where, "transforms::temperature temperatures.size()",
                                    temperatures_.cols, "the number of query heads", p.head + 1,
                                    "one temperature for each query head");
    const double t = temperatures_(0, p.head);
    softlook::detail::check_parameter<S>(where, "transforms::temperature of a head", t,
                                         softlook::detail::parameter::positive,
                                         "a temperature is positive and finite");
    softlook::detail::check_parameter<S>(where, "1 / transforms::temperature of a head", 1 / t,
                                         softlook::detail::parameter::positive,
                                         "the inverse of a temperature is positive and finite");
  }

 private:
  matrix_view<double> temperatures_;
};

/// \}

}  // namespace transforms
SOFTLOOK_NAMESPACE_END
