#pragma once

#include "softlook/engine/call/layer_call.hpp"

SOFTLOOK_NAMESPACE_BEGIN

/// \addtogroup layers
/// \{

/// Calls of a layer that makes a matrix Y of a matrix X, by value or into the caller's matrix. A
/// layer of pictures takes their size after X. Shapes and accepted policies are documented with the
/// layer.
template <class Layer, class T, class... Size>
class matrix_layer : public detail::layer_defaults<Layer, T> {
 public:
  /// Y, a dynamic matrix in X's storage order.
  /// \param policies  an executor and options, and what else the layer accepts.
  /// \throws shape_error  unless X has the size that the layer is made for, and policies fit it;
  ///         argument_error  for a parameter out of range.
  template <dense_expression X, class... Ps>
  [[nodiscard]] auto operator()(const X& x, const Size&... size, const Ps&... policies) const {
    plain_matrix_like<X> y(x.rows(), detail::layer_entry::output_columns(layer(), x.cols()));
    into(x, size..., y, policies...);
    return y;
  }
  /// Into the caller's matrix, block or map of Y's size, which is never resized; unless the layer
  /// says otherwise it may be X itself. With options{.workspace} a call of a layer without pictures
  /// allocates nothing.
  /// \throws shape_error  as the value form, and unless Y has its size;
  ///         argument_error  if Y overlaps X otherwise. Nothing has been written then.
  template <dense_expression X, dense_expression Y, class... Ps>
  void into(const X& x, const Size&... size, Y&& y, const Ps&... policies) const {
    using entry = detail::layer_entry;
    if constexpr (entry::accepts<Layer, Ps...>(detail::matrices<X, Y>{}))
      entry::into(layer(), entry::input_of(layer(), detail::readable<X>(x).view(), size...),
                  detail::writable_view(y), policies...);
  }

 private:
  [[nodiscard]] const Layer& layer() const { return static_cast<const Layer&>(*this); }
};

/// Calls of a layer whose rows X attend to themselves and to the rows of a memory.
template <class Layer, class T>
class memory_layer : public detail::layer_defaults<Layer, T> {
 public:
  /// Y, a dynamic matrix in X's storage order.
  /// \param policies  for_target(mask, transforms), for_memory(…), an executor, options.
  /// \throws shape_error  unless X.cols() is features() and memory.cols() memory_features();
  ///         argument_error  for a parameter out of range.
  template <dense_expression X, dense_expression M, class... Ps>
  [[nodiscard]] auto operator()(const X& x, const M& memory, const Ps&... policies) const {
    plain_matrix_like<X> y(x.rows(), x.cols());
    into(x, memory, y, policies...);
    return y;
  }
  /// Into the caller's matrix, block or map, which is never resized; it may be X itself. With
  /// options{.workspace} a call allocates nothing.
  /// \throws shape_error  as the value form, and unless Y has its size;
  ///         argument_error  if Y overlaps X otherwise, or the memory. Nothing has been written
  ///         then.
  template <dense_expression X, dense_expression M, dense_expression Y, class... Ps>
  void into(const X& x, const M& memory, Y&& y, const Ps&... policies) const {
    using entry = detail::layer_entry;
    const Layer& layer = static_cast<const Layer&>(*this);
    if constexpr (entry::accepts<Layer, Ps...>(detail::matrices<X, M, Y>{}))
      entry::into(
          layer,
          entry::input_of(layer, detail::readable<X>(x).view(), detail::readable<M>(memory).view()),
          detail::writable_view(y), policies...);
  }
};

/// \}

SOFTLOOK_NAMESPACE_END
