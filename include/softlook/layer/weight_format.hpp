#pragma once

#include "softlook/engine/run/packed_linear.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup layers
/// \{

/// What a layer is told about keeping its weights: a weight_storage, which converts to it. A format
/// made without one is exact. Kernels that read shorter weights are compiled only into a program
/// that makes a format of a weight_storage.
template <class T>
class weight_format {
 public:
  weight_format() = default;
  /// \throws argument_error  for weights of double that are not to be exact.
  weight_format(weight_storage kept) {  // NOLINT(google-explicit-constructor)
    if (kept == weight_storage::exact) return;
    if constexpr (std::is_same_v<T, float>)
      packed_ = kept == weight_storage::int8 ? detail::packed_as_int8<T>()
                                             : detail::packed_as_bfloat16<T>();
    else
      detail::raise<argument_error>(
          "weight_format: weights of double are kept exact (only those of float can be rounded)");
  }

  explicit weight_format(const detail::packed_storage<T>& packed) : packed_(packed) {}

  [[nodiscard]] weight_storage storage() const { return packed_.kept; }
  /// What packed layers read of it.
  [[nodiscard]] const detail::packed_storage<T>& packed() const { return packed_; }

 private:
  detail::packed_storage<T> packed_;
};

/// \}

SOFTLOOK_NAMESPACE_END
